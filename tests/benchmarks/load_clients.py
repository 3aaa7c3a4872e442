"""Callers that never pause: each starts a run, watches it twice, and compares what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp

from tests.chaos.client import TERMINAL_TYPES

CREW = "load"
TASKS = 3
WATCHERS_PER_RUN = 2

_AGAIN = frozenset({429, 502, 503, 504})
_AGAIN_SECONDS = 0.5

Json = dict[str, Any]
# The number and the type of each event.
Log = Sequence[tuple[int, str]]

DEFINITION = {
    "name": CREW,
    "description": "One call of the model in each of its tasks.",
    "version": "1.0.0",
    "inputs": {
        "type": "object",
        "properties": {"topic": {"type": "string"}},
        "required": ["topic"],
    },
    "crew": {
        "agents": {"host": {"role": "Host", "goal": "Introduce topics", "backstory": "Exact."}},
        "tasks": [
            {
                "name": f"part-{number}",
                "agent": "host",
                "description": f"Introduce part {number} of this topic: {{topic}}",
                "expected_output": "Two sentences.",
            }
            for number in range(1, TASKS + 1)
        ],
    },
}


@dataclass
class Figures:
    """What all callers saw; times in seconds."""

    accepted: list[str] = field(default_factory=list)
    accept: list[float] = field(default_factory=list)
    # From asking for a run to its last event.
    run: list[float] = field(default_factory=list)
    # From an event's own time to its arrival.
    lag: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    asked_again: int = 0
    streams_broken: int = 0
    under_way: set[str] = field(default_factory=set)
    watching: int = 0
    # Whatever was lost, doubled or out of order.
    faults: list[str] = field(default_factory=list)


class Caller:
    """One of many; `runs` one after another."""

    def __init__(self, client: aiohttp.ClientSession, figures: Figures, number: int) -> None:
        self._client = client
        self._figures = figures
        self._number = number

    async def call(self, runs: int) -> None:
        """Start so many runs, each when the one before has ended."""
        for turn in range(runs):
            await self._run(f"caller {self._number}, turn {turn}")

    async def _run(self, topic: str) -> None:
        start = time.perf_counter()
        run_id = await self._start(topic)
        self._figures.accept.append(time.perf_counter() - start)
        self._figures.accepted.append(run_id)
        watchers = (self._watch(run_id, first=n == 0) for n in range(WATCHERS_PER_RUN))
        seen = await asyncio.gather(*watchers)
        self._figures.run.append(time.perf_counter() - start)
        await self._compare(run_id, seen)

    async def _start(self, topic: str) -> str:
        # The same key each time: what was accepted with its answer lost isn't started twice.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"crew": CREW, "inputs": {"topic": topic}}
        run: Json = await self._ask("POST", "/v1/runs", 202, json=body, headers=headers)
        run_id: str = run["id"]
        return run_id

    async def _ask(self, method: str, path: str, wanted: int = 200, **given: Any) -> Json:
        """Return an answer, asked for again as long as the mesh says that it is too busy."""
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with self._client.request(method, path, **given) as response:
                    if response.status not in _AGAIN:
                        assert response.status == wanted, await response.text()
                        answer: Json = await response.json()
                        return answer
            self._figures.asked_again += 1
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch(self, run_id: str, *, first: bool) -> list[tuple[int, str]]:
        """Return the number and type of each event, in the order in which they came."""
        seen: list[tuple[int, str]] = []
        self._figures.watching += 1
        while not seen or seen[-1][1] not in TERMINAL_TYPES:
            try:
                async for event in self._events(run_id, after=seen[-1][0] if seen else 0):
                    seen.append((event["seq"], event["type"]))
                    self._note(event, first=first)
            except aiohttp.ClientError:
                self._figures.streams_broken += 1
                await asyncio.sleep(_AGAIN_SECONDS)
        self._figures.watching -= 1
        return seen

    async def _events(self, run_id: str, after: int) -> AsyncIterator[Json]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        async with self._client.get(f"/v1/runs/{run_id}/events", headers=headers) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def _note(self, event: Json, *, first: bool) -> None:
        """Take a new event's times; what is the run's own from the first of its watchers only."""
        at = datetime.fromisoformat(event["at"]).timestamp()
        self._figures.lag.append(time.time() - at)
        if not first:
            return
        if event["type"] == "run.started":
            self._figures.under_way.add(event["run_id"])
        elif event["type"] in TERMINAL_TYPES:
            self._figures.under_way.discard(event["run_id"])

    async def _compare(self, run_id: str, seen: list[list[tuple[int, str]]]) -> None:
        """Note as a fault what a watcher saw that isn't the run's log, or an end that isn't good."""
        run = await self._ask("GET", f"/v1/runs/{run_id}")
        page = await self._ask("GET", f"/v1/runs/{run_id}/events?limit=1000")
        stored = [(event["seq"], event["type"]) for event in page["items"]]
        self._figures.statuses[run["status"]] += 1
        self._figures.attempts[run["attempt"]] += 1
        if run["status"] != "succeeded":
            self._figures.faults.append(f"{run_id} {run['status']}: {run['error']}")
        self._figures.faults += [f"{run_id}: {fault}" for fault in faults_of(stored, seen)]


def faults_of(stored: Log, seen: Sequence[Log]) -> list[str]:
    """Return what is wrong with a run's log, and with what its watchers saw of it."""
    faults = []
    if [number for number, _ in stored] != list(range(1, len(stored) + 1)):
        faults.append(f"its log has gaps: {[number for number, _ in stored]}")
    if [kind for _, kind in stored if kind in TERMINAL_TYPES] != [kind for _, kind in stored[-1:]]:
        faults.append(f"its log doesn't end once: {[kind for _, kind in stored]}")
    faults += [f"a watcher saw {log} of {stored}" for log in seen if list(log) != list(stored)]
    return faults
