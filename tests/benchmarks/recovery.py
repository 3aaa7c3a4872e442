"""`make bench-recovery`: how long a run stands still when what executes it is lost.

A mesh of 2 stores, 3 workers and 2 gateways, as the chaos harness starts it, executes runs that wait
for their model. One of what they depend on is broken, and the time counts until the last of its
runs has begun its task again elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from tests.benchmarks.measure import now
from tests.chaos.mesh import Mesh
from tests.chaos.part import Part

OUTPUT = Path(__file__).parents[2] / "docs" / "benchmarks"

LEASE_SECONDS = 15.0
_RUNS = 3
_POLL_SECONDS = 0.02
_GIVE_UP_SECONDS = 300.0
_SLOW_MODEL_MS = 600_000

_WORKER_OF_RUN = "SELECT r.id, w.address FROM runs r JOIN workers w ON w.id = r.worker_id"
_UNDER_WAY = """
    SELECT count(*) FROM run_events WHERE run_id = ANY(%s) AND attempt = 1 AND type = 'llm.started'
"""
# When each run's second attempt has begun its task.
_GOING_ON = """
    SELECT extract(epoch FROM min(at)) FROM run_events
    WHERE run_id = ANY(%s) AND attempt = 2 AND type = 'task.started' GROUP BY run_id
"""
_LIVE = "SELECT count(*) FROM runs WHERE finished_at IS NULL"


class Bench:
    """A running mesh, and what can be done to it."""

    def __init__(self, mesh: Mesh, http: aiohttp.ClientSession) -> None:
        self.mesh = mesh
        self._http = http
        self._connection = psycopg.connect(mesh.database_url, autocommit=True)

    async def measure(self, way: Way) -> float:
        """Return the seconds from the break until all runs of a worker go on elsewhere."""
        await self.mesh.all_ready()
        runs = await asyncio.gather(*(self._start_run() for _ in range(_RUNS)))
        await self._until(lambda: self._value(_UNDER_WAY, runs) == _RUNS)
        worker, hit = self._busiest(runs)
        broken_at = time.time()
        async with way.broken(self, worker):
            await self._until(lambda: len(self._rows(_GOING_ON, hit)) == len(hit))
        seconds = max(float(row[0]) for row in self._rows(_GOING_ON, hit)) - broken_at
        for run in runs:
            await self._ask("POST", f"/v1/runs/{run}/cancel")
        await self._until(lambda: self._value(_LIVE) == 0)
        return seconds

    def _busiest(self, runs: list[str]) -> tuple[Part, list[str]]:
        """Return a worker that executes some of the runs, and which."""
        by_address: dict[str, list[str]] = {}
        for run, address in self._rows(_WORKER_OF_RUN):
            if str(run) in runs:
                by_address.setdefault(address, []).append(str(run))
        address, hit = max(by_address.items(), key=lambda item: len(item[1]))
        workers = self.mesh.parts_of("worker")
        return next(w for w in workers if self.mesh.address_of(w.name) == address), hit

    async def _start_run(self) -> str:
        run = await self._ask("POST", "/v1/runs", {"crew": "hello", "inputs": {}})
        return str(run["id"])

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask a gateway until it answers: right after a break, it may have nobody to ask."""
        while True:
            url = random.choice(self.mesh.urls) + path
            with contextlib.suppress(aiohttp.ClientError):
                async with self._http.request(method, url, json=body or {}) as response:
                    if response.status < 300:
                        return await response.json()
            await asyncio.sleep(_POLL_SECONDS)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            while not holds():  # noqa: ASYNC110 - it is outside this process
                await asyncio.sleep(_POLL_SECONDS)

    def _value(self, statement: Any, *parameters: Any) -> Any:
        return self._rows(statement, *parameters)[0][0]

    def _rows(self, statement: Any, *parameters: Any) -> list[Any]:
        return self._connection.execute(statement, parameters or None).fetchall()


@dataclass(frozen=True)
class Way:
    """Something that a worker's runs are lost by; `promise` is in seconds."""

    name: str
    seen: str
    promise: float
    strike: Callable[[Bench, Part], Awaitable[None]]
    mend: Callable[[Bench, Part], Awaitable[None]]

    @contextlib.asynccontextmanager
    async def broken(self, bench: Bench, worker: Part) -> Any:
        """Break it for the length of a `with` block."""
        await self.strike(bench, worker)
        try:
            yield
        finally:
            await self.mend(bench, worker)


def _signal(number: signal.Signals) -> Callable[[Bench, Part], Awaitable[None]]:
    async def send(_: Bench, worker: Part) -> None:
        worker.signal(number)

    return send


async def _nothing(_: Bench, __: Part) -> None:
    return


async def _kill_runners(_: Bench, worker: Part) -> None:
    for zygote in psutil.Process(worker.pid).children():
        for runner in zygote.children():
            runner.kill()


async def _hold_links(bench: Bench, worker: Part) -> None:
    for link in bench.mesh.links_between(worker.name, "store"):
        link.hold()


async def _release_links(bench: Bench, worker: Part) -> None:
    for link in bench.mesh.links_between(worker.name, "store"):
        link.release()


WAYS = (
    Way("all runners of a worker killed", "by the worker", 1.0, _kill_runners, _nothing),
    Way("a worker killed", "its connection breaks", 1.0, _signal(signal.SIGKILL), _nothing),
    Way("a worker asked to end", "it hands them back", 1.0, _signal(signal.SIGTERM), _nothing),
    Way(
        "a worker frozen", "its leases run out", LEASE_SECONDS + 2,
        _signal(signal.SIGSTOP), _signal(signal.SIGCONT),
    ),
    Way(
        "a worker cut off by a black hole", "its leases run out", LEASE_SECONDS + 2,
        _hold_links, _release_links,
    ),
)  # fmt: skip


async def run(times: int, console: Console) -> dict[str, list[float]]:
    """Measure every way so many times, in turn."""
    samples: dict[str, list[float]] = {way.name: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="crewmesh-recovery-") as directory:
        root = Path(directory)
        root.chmod(0o711)
        mesh = Mesh(
            root,
            random.Random(0),
            LEASE_SECONDS,
            {
                "CREWMESH_DRAIN_SECONDS": "0",
                "CREWMESH_RUNNER_ENVIRONMENT": "CREWMESH_OFFLINE_LATENCY_MS",
                "CREWMESH_OFFLINE_LATENCY_MS": str(_SLOW_MODEL_MS),
            },
        )
        try:
            await mesh.start()
            headers = {"Authorization": f"Bearer {mesh.api_key}"}
            async with aiohttp.ClientSession(headers=headers) as http:
                bench = Bench(mesh, http)
                for number in range(times):
                    for way in WAYS:
                        samples[way.name].append(await bench.measure(way))
                        console.print(f"{number + 1}: {way.name}: {samples[way.name][-1]:.2f} s")
        finally:
            await mesh.stop()
    return samples


def _rows(samples: dict[str, list[float]]) -> list[list[str]]:
    return [
        [
            way.name,
            way.seen,
            f"{way.promise:.0f}",
            f"{statistics.median(samples[way.name]):.2f}",
            f"{max(samples[way.name]):.2f}",
        ]
        for way in WAYS
    ]


_HEADINGS = ("what is lost", "how that shows", "promised, s", "median, s", "longest, s")

_PAGE = """\
# How long a run stands still

Made by `make bench-recovery`: the seconds from the moment in which something is broken until the last
of the runs that it hits has begun its task again elsewhere, in a mesh of 2 stores, 3 workers and 2
gateways with leases of {lease:.0f} s ({cores} cores, {memory_gib} GiB, everything on one machine, load average
{load:.1f}). {times} times each, {runs} runs at a time.

{table}

A worker whose connection breaks has 0.5 s to attach again, before its runs go back to the queue. A
silent one keeps them until its leases run out, which it renewed at most {third:.0f} s ago; they are looked for
every second.
"""


def _write(samples: dict[str, list[float]], times: int, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    machine = {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "load": os.getloadavg()[2],
    }
    report = {
        "at": now(),
        "machine": machine,
        "lease_seconds": LEASE_SECONDS,
        "seconds": {
            name: [round(value, 3) for value in values] for name, values in samples.items()
        },
    }
    (directory / "recovery.json").write_text(json.dumps(report) + "\n", encoding="utf-8")
    lines = [_HEADINGS, ["---", "---", "---:", "---:", "---:"], *_rows(samples)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    page = _PAGE.format(
        lease=LEASE_SECONDS,
        third=LEASE_SECONDS / 3,
        times=times,
        runs=_RUNS,
        table=table,
        **machine,
    )
    (directory / "recovery.md").write_text(page, encoding="utf-8")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="repetitions of everything")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    console = Console()
    samples = asyncio.run(run(options.times, console))
    table = Table(*_HEADINGS, title="Seconds until a lost run goes on")
    for row in _rows(samples):
        table.add_row(*row)
    console.print(table)
    _write(samples, options.times, options.output)


if __name__ == "__main__":
    main()
