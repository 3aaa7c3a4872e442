"""`make bench-console`: how smoothly the console shows a run of 50,000 events while it goes on."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from tests.benchmarks.measure import write_report
from tests.browser.chromium import FLAGS, chromium_path
from tests.browser.console import Console
from tests.e2e.conftest import Mesh, running_mesh

OUTPUT = Path(__file__).parents[2] / "docs" / "benchmarks" / "console.json"
# From the first event to the last: how long each frame took, and what kept the page from answering.
_WATCH = """
    window.measured = { frames: [], blocks: [], rows: 0, updates: 0 };
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) measured.blocks.push(entry.duration);
    }).observe({ type: "longtask" });
    let last = performance.now();
    let shown = "";
    (function look(now) {
        measured.frames.push(now - last);
        last = now;
        measured.rows = Math.max(measured.rows, document.querySelectorAll(".row").length);
        const events = document.querySelector("[data-events]")?.dataset.events ?? "";
        if (events !== shown) measured.updates += 1;
        shown = events;
        requestAnimationFrame(look);
    })(last);
"""


async def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=25_000, help="model calls: two events each")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    path = chromium_path()
    if path is None:
        raise SystemExit("this is measured in chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="crewmesh-bench-") as directory:
        async with running_mesh(Path(directory)) as mesh, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
            async with Console.opened(browser, mesh.url) as console:
                await console.sign_in(mesh.api_key)
                results = await _measure(console, mesh, options.calls)
            version = browser.version
            await browser.close()
    write_report(options.output, results, chromium=version)


async def _measure(console: Console, mesh: Mesh, calls: int) -> dict[str, Any]:
    run = await mesh.start_run("chatty", calls=calls)
    await console.open(f"/runs/{run['id']}?tab=timeline")
    await console.page.evaluate(_WATCH)
    while (run := await mesh.get(f"/v1/runs/{run['id']}?wait=30"))["status"] == "running":
        pass
    events = run["last_seq"]
    await console.page.wait_for_selector(f"[data-events='{events}']")
    measured = await console.page.evaluate("window.measured")
    frames = sorted(measured["frames"])
    return {
        "events": events,
        "run_s": round(sum(frames) / 1000, 1),
        "updates": measured["updates"],
        "rows_in_the_page_at_most": measured["rows"],
        "frames": len(frames),
        "frame_ms": {
            "p50": round(statistics.median(frames), 1),
            "p95": round(frames[int(0.95 * len(frames))], 1),
            "p99": round(frames[int(0.99 * len(frames))], 1),
            "max": round(frames[-1], 1),
        },
        "longest_block_ms": round(max(measured["blocks"], default=0)),
    }


if __name__ == "__main__":
    asyncio.run(main())
