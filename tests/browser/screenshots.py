"""Takes the pictures of the console that the documentation shows."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Literal

import aiohttp
from playwright.async_api import Browser, async_playwright
from vega_datasets import local_data

from tests.browser.chromium import FLAGS, chromium_path
from tests.browser.console import PHONE, Console
from tests.e2e.conftest import ROOT, Mesh, running_mesh

IMAGES = ROOT / "docs" / "images"
WINDOW = {"width": 1180, "height": 740}
QUESTION = "How do temperature and rain change over the year, and which month is the wettest?"
# A canvas is drawn in the frame after it is there; connections that stay are no sign of anything.
_DRAWN = """() => document.fonts.status === "loaded" && !document.querySelector(".skeleton")
    && !document.querySelector("[data-connection=connecting]")
    && [...document.images].every((image) => image.complete)
    && new Promise((done) => setTimeout(() => done(true), 400))"""
TICKETS = [
    {
        "id": "1",
        "from": "ana@example.org",
        "subject": "Wrong invoice",
        "body": "Invoice 4711 lists an item twice. Please correct it today, it is due.",
    }
]


async def main() -> None:
    """Start a mesh, have it do something, and take the pictures."""
    IMAGES.mkdir(exist_ok=True)
    path = chromium_path()
    if path is None:
        raise SystemExit("the pictures are taken with chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="crewmesh-pictures-") as directory:
        async with (
            running_mesh(
                Path(directory),
                "--workers",
                "2",
                CREWMESH_CREWS_DIR="",
                CREWMESH_RUNNER_BUILDER="crewmesh_worker.crews.build:build_crew",
            ) as mesh,
            async_playwright() as playwright,
        ):
            runs = await some_runs(mesh)
            browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
            await take_all(browser, mesh, runs)
            await browser.close()


async def some_runs(mesh: Mesh) -> dict[str, str]:
    """Return the ids of runs that are worth a picture."""
    data = await weather(mesh)
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("hello", "hello", {"topic": "gRPC"}),
        ("again", "hello", {"topic": "Postgres as a queue"}),
        ("analysis", "data-analyst", {"data": data, "question": QUESTION}),
        ("waiting", "process-automation", {"messages": TICKETS}),
        ("wind", "data-analyst", {"data": data, "question": "Which year was the windiest?"}),
    ]
    ids = {}
    for name, crew, inputs in asked:
        ids[name] = (await mesh.start_run(crew, **inputs))["id"]
        await mesh.get(f"/v1/runs/{ids[name]}?wait={3 if name == 'waiting' else 60}")
    return ids


async def weather(mesh: Mesh) -> str:
    form = aiohttp.FormData()
    content = await asyncio.to_thread(Path(local_data.seattle_weather.filepath).read_bytes)
    form.add_field("file", content, filename="seattle-weather.csv", content_type="text/csv")
    async with mesh.http.post("/v1/datasets", data=form) as response:
        assert response.status == 201, await response.text()
        return str((await response.json())["id"])


async def take_all(browser: Browser, mesh: Mesh, runs: dict[str, str]) -> None:
    analysis = f"/runs/{runs['analysis']}"
    await take(browser, mesh, "light", WINDOW, {
        "runs": "/runs",
        "timeline": f"{analysis}?tab=timeline",
        "start": "/runs/new?crew=data-analyst",
        "question": f"/runs/{runs['waiting']}",
        "compare": f"/compare?a={runs['hello']}&b={runs['again']}",
        "crew": "/crews/data-analyst",
    })  # fmt: skip
    await take(browser, mesh, "dark", WINDOW, {
        "artifacts-dark": f"{analysis}?tab=artifacts",
        "timeline-dark": f"{analysis}?tab=timeline",
        "usage-dark": "/usage?days=7",
    })  # fmt: skip
    await take(browser, mesh, "light", PHONE, {"phone": f"{analysis}?tab=timeline"})


async def take(
    browser: Browser, mesh: Mesh, scheme: Literal["light", "dark"], size: Any, paths: dict[str, str]
) -> None:
    """Take a picture of each page in a window of this size."""
    async with Console.opened(browser, mesh.url, scheme, size) as console:
        await console.sign_in(mesh.api_key)
        for name, path in paths.items():
            await console.open(path)
            await console.page.locator("h1").first.wait_for()
            await console.page.wait_for_function(_DRAWN)
            await console.page.screenshot(path=IMAGES / f"console-{name}.png")


if __name__ == "__main__":
    asyncio.run(main())
