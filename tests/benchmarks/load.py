"""`make bench-load`: many runs at once, each watched twice; writes docs/benchmarks/load.*.

Callers over REST never pause: each starts a run of three tasks, in each of which the model takes
2 s, watches it over two SSE streams from its first event to its last, compares what both saw with
the run's log, and starts the next. The exit status is 0 only when nothing was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.benchmarks.load_clients import CREW, DEFINITION, TASKS, Caller, Figures
from tests.benchmarks.measure import now, percentile
from tests.benchmarks.mesh import embedded_mesh
from tests.soak.memory import MIB, PRIVATE, PROPORTIONAL, RESIDENT, descendants, held

OUTPUT = Path(__file__).parents[2] / "docs" / "benchmarks"
_SAMPLE_SECONDS = 1.0
# Reading the accounts of hundreds of runners takes a second of a core.
_MEMORY_SAMPLE_SECONDS = 20.0


@dataclass
class Samples:
    """What was seen every few seconds, while all callers called."""

    under_way: list[int] = field(default_factory=list)
    watching: list[int] = field(default_factory=list)
    # MiB, by part.
    memory: dict[str, list[float]] = field(default_factory=dict)

    def count(self, figures: Figures) -> None:
        """Add how much goes on now."""
        self.under_way.append(len(figures.under_way))
        self.watching.append(figures.watching)

    def weigh(self, mesh: psutil.Process) -> None:
        """Add what the mesh's processes hold now."""
        for child in mesh.children():
            part = _part(child)
            # Runners share most pages with the process that they are forked from.
            family = descendants(child.pid)
            if part == "Postgres":
                self._add(part, [child.pid, *family], PRIVATE)
            else:
                self._add(part, [child.pid], RESIDENT)
            if part.startswith("worker"):
                self._add(f"{part}'s runners", family, PROPORTIONAL)

    def _add(self, part: str, pids: list[int], keys: tuple[str, ...]) -> None:
        mib = sum(held(pid, keys) for pid in pids) / MIB
        self.memory.setdefault(part, []).append(mib)


def _part(process: psutil.Process) -> str:
    """Name a child of `crewmesh up`: by the file in which it says that it is ready, if it does."""
    return Path(process.environ().get("CREWMESH_READY_FILE", "Postgres")).stem


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Put the load on a mesh of its own; return the report."""
    figures, samples = Figures(), Samples()
    load_before = os.getloadavg()[0]
    slots = -(-options.callers // options.workers)
    async with embedded_mesh(
        *("--workers", str(options.workers), "--slots", str(slots)),
        CREWMESH_OFFLINE_LATENCY_MS=str(round(options.model_seconds * 1000)),
    ) as (client, mesh):
        async with client.put(f"/v1/crews/{CREW}", json=DEFINITION) as response:
            response.raise_for_status()
        callers = [Caller(client, figures, number) for number in range(options.callers)]
        psutil.cpu_percent()
        own = time.process_time()
        start = time.perf_counter()
        async with _sampling(samples, mesh, figures), asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller.call(options.turns))
        seconds = time.perf_counter() - start
        own = time.process_time() - own
        busy = psutil.cpu_percent()
        stored = await _all_runs(client)
    if sorted(stored) != sorted(figures.accepted):
        figures.faults.append(
            f"{len(figures.accepted)} runs were accepted, and {len(stored)} are listed"
        )
    return {
        "at": now(),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "python": platform.python_version(),
            "load": round(load_before, 1),
        },
        "callers": options.callers,
        "workers": options.workers,
        "tasks": TASKS,
        "model_seconds": options.model_seconds,
        "seconds": round(seconds, 1),
        "cpu_busy_percent": round(busy, 1),
        "cpu_busy_by_callers_percent": round(100 * own / seconds / (os.cpu_count() or 1), 1),
        "results": _results(figures, samples, seconds),
        "faults": figures.faults,
    }


@contextlib.asynccontextmanager
async def _sampling(
    samples: Samples, mesh: psutil.Process, figures: Figures
) -> AsyncIterator[None]:
    async def count() -> None:
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            samples.count(figures)

    async def weigh() -> None:
        while True:
            await asyncio.to_thread(samples.weigh, mesh)
            await asyncio.sleep(_MEMORY_SAMPLE_SECONDS)

    sampling = [asyncio.create_task(count()), asyncio.create_task(weigh())]
    try:
        yield
    finally:
        for task in sampling:
            task.cancel()
        await asyncio.wait(sampling)


async def _all_runs(client: aiohttp.ClientSession) -> list[str]:
    """Return the ids of all runs that the mesh has."""
    ids: list[str] = []
    cursor = ""
    while True:
        query = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
        async with client.get("/v1/runs", params=query) as response:
            response.raise_for_status()
            page = await response.json()
        ids += [run["id"] for run in page["items"]]
        if not (cursor := page["next_cursor"]):
            return ids


def _results(figures: Figures, samples: Samples, seconds: float) -> dict[str, Any]:
    times = {"accept": figures.accept, "event": figures.lag, "run": figures.run}
    return {
        "runs": len(figures.accepted),
        "runs_per_s": round(len(figures.accepted) / seconds, 1),
        "events_seen": len(figures.lag),
        "statuses": dict(figures.statuses),
        "attempts": {str(number): count for number, count in sorted(figures.attempts.items())},
        "asked_again": figures.asked_again,
        "streams_broken": figures.streams_broken,
        "under_way": {"median": _median(samples.under_way), "peak": max(samples.under_way)},
        "watching": {"median": _median(samples.watching), "peak": max(samples.watching)},
        "ms": {
            name: {
                f"p{share}": round(1000 * percentile(values, share / 100), 1)
                for share in (50, 90, 99)
            }
            for name, values in times.items()
        },
        "memory_mib": {part: round(max(mib)) for part, mib in sorted(samples.memory.items())},
    }


def _median(values: list[int]) -> int:
    return round(statistics.median(values))


_TIMES = {
    "accept": "a run is accepted (202)",
    "event": "an event is at a watcher, after its own time",
    "run": "a run, from asking for it to its last event",
}

_PAGE = """\
# {callers} runs at once, {watching} watchers

Made by `make bench-load` on {at} ({cores} cores, {memory_gib} GiB, Python {python}; load average {load} before it began). {callers} callers over REST
never pause. Each starts a run of {tasks} tasks, in each of which the model takes {model_seconds:g} s, watches it over two SSE streams from its first event to its last, and
starts the next. All of it is on one machine: a mesh by `crewmesh up` with {workers} workers, Postgres, and the callers.

{runs:,} runs in {seconds:.0f} s, {runs_per_s} a second; {under_way[median]} under way (median of samples; {under_way[peak]} at most), {watching_now[median]:,} streams open
({watching_now[peak]:,} at most). The processors were {busy:.0f} % busy, {own:.0f} % with the callers themselves.

**{verdict}** Every accepted run is listed and has ended; what both its watchers saw, {events:,} events in all, is its log, from the first event to the last, in order.
By their end: {statuses}. By attempts: {attempts}. Answers that said "too busy", after which the caller asked again: {asked_again}. Streams that broke: {streams_broken}.

| | p50, ms | p90 | p99 |
| --- | ---: | ---: | ---: |
{times}

The model's own time is {model_ms:,} ms of a run's.

| memory, MiB, at most | |
| --- | ---: |
{memory}

Of services it is the resident set, of runners the proportional (they share pages), of Postgres the private.
"""


def _page(report: dict[str, Any]) -> str:
    results = report["results"]
    times = [
        f"| {told} | {' | '.join(f'{value:,.1f}' for value in results['ms'][name].values())} |"
        for name, told in _TIMES.items()
    ]
    memory = [f"| {part} | {mib:,} |" for part, mib in results["memory_mib"].items()]
    faults = report["faults"]
    return _PAGE.format(
        **report["machine"],
        **{key: report[key] for key in ("at", "callers", "workers", "tasks", "model_seconds")},
        **{key: results[key] for key in ("runs", "runs_per_s", "under_way", "asked_again")},
        seconds=report["seconds"],
        streams_broken=results["streams_broken"],
        watching=f"{2 * report['callers']:,}",
        watching_now=results["watching"],
        busy=report["cpu_busy_percent"],
        own=report["cpu_busy_by_callers_percent"],
        verdict="Nothing was lost." if not faults else f"{len(faults)} faults.",
        events=results["events_seen"],
        statuses=", ".join(f"{count:,} {status}" for status, count in results["statuses"].items()),
        attempts=", ".join(f"{count:,} in {n}" for n, count in results["attempts"].items()),
        times="\n".join(times),
        memory="\n".join(memory),
        model_ms=round(report["tasks"] * report["model_seconds"] * 1000),
    )


def main() -> int:
    """Measure, print, write; return 0 only when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=500)
    parser.add_argument("--turns", type=int, default=3, help="runs of each caller")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model-seconds", type=float, default=2.0)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    report = asyncio.run(measure(options))
    options.output.mkdir(parents=True, exist_ok=True)
    page = _page(report)
    (options.output / "load.md").write_text(page, encoding="utf-8")
    (options.output / "load.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(page)
    for fault in report["faults"]:
        sys.stderr.write(f"{fault}\n")
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
