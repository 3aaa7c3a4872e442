"""`make bench-tracing`: what tracing costs, off and on; writes docs/benchmarks/tracing.*."""

from __future__ import annotations

import asyncio
import json
import platform
import statistics
import time
import timeit
from pathlib import Path

import aiohttp
import psutil

from crewmesh.common import tracing
from tests.benchmarks.crew import TOPIC
from tests.benchmarks.measure import now
from tests.benchmarks.mesh import embedded_mesh
from tests.e2e.collector import collecting

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
ROUNDS, RUNS, WARM_UP = 2, 150, 30


async def _run(client: aiohttp.ClientSession) -> None:
    body = {"crew": "hello", "inputs": {"topic": TOPIC}}
    async with client.post("/v1/runs?wait=60", json=body) as response:
        run = await response.json()
        assert run["status"] == "succeeded", run


async def _measure(**environment: str) -> tuple[float, float]:
    """Return the services' CPU time for a run and a run's median latency, in ms.

    Of runners' time nothing: they do the same, traced or not.
    """
    async with embedded_mesh(**environment) as (client, mesh):
        services = [p for p in mesh.children() if "CREWMESH_READY_FILE" in p.environ()]
        for _ in range(WARM_UP):
            await _run(client)
        before, taken = _cpu_seconds(services), []
        for _ in range(RUNS):
            start = time.perf_counter()
            await _run(client)
            taken.append(time.perf_counter() - start)
        cpu = _cpu_seconds(services) - before
    return cpu / RUNS * 1000, statistics.median(taken) * 1000


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _nanoseconds_off() -> float:
    """Return what the hooks of one request cost while tracing is off."""

    def hooks() -> None:
        with tracing.serving("x", "", {}):
            tracing.traceparent()
        with tracing.calling_database("x"):
            pass
        tracing.client_interceptors()
        tracing.ids()

    return min(timeit.repeat(hooks, number=20_000, repeat=5)) / 20_000 * 1e9


async def main() -> None:
    """Measure off and on in turn, and write what came of it."""
    figures: dict[str, list[tuple[float, float]]] = {"off": [], "on": []}
    spans = 0
    for _ in range(ROUNDS):
        figures["off"].append(await _measure())
        async with collecting() as collector:
            figures["on"].append(await _measure(CREWMESH_OTLP_ENDPOINT=collector.url))
            spans = round(len(collector.spans) / (RUNS + WARM_UP))
    results = {
        name: {
            "services_cpu_ms_per_run": round(statistics.median(cpu for cpu, _ in of), 2),
            "run_p50_ms": round(statistics.median(p50 for _, p50 in of), 1),
        }
        for name, of in figures.items()
    }
    report = {
        "at": now(),
        "machine": f"{psutil.cpu_count()} cores, Python {platform.python_version()}, "
        f"load {psutil.getloadavg()[0]:.1f} at the end",
        "spans_per_run": spans,
        "hooks_off_ns_per_request": round(_nanoseconds_off()),
        "results": results,
    }
    (DOCS / "tracing.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    rows = [
        f"| {name} | {of['services_cpu_ms_per_run']} | {of['run_p50_ms']} |"
        for name, of in results.items()
    ]
    (DOCS / "tracing.md").write_text(
        f"""# What tracing costs

Measured by `make bench-tracing` on {report["at"]}: {report["machine"]}. Runs of `hello` on the offline model, one after another:
{ROUNDS} times {RUNS} with tracing off and as many with it on, in turn; the medians. A run has {spans} spans.

| tracing | the services' CPU time for a run (ms) | a run's median latency (ms) |
| --- | --- | --- |
{chr(10).join(rows)}

Off, nothing of OpenTelemetry is imported. What is left of it, in a request's way, are checks whether it is on:
{report["hooks_off_ns_per_request"]} ns for all of them together. Runners do the same in both cases.
""",
        encoding="utf-8",
    )


if __name__ == "__main__":
    asyncio.run(main())
