"""Runs that come one after another while workers come and go, and what became of them."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

_ENDED = {"succeeded", "failed", "cancelled", "timed_out"}
_PASSING = {429, 502, 503, 504}


@dataclass
class Load:
    """Runs of `hello`, so many a second and at most so many; each asked for until it is accepted."""

    url: str
    api_key: str
    most_runs: int
    runs_per_second: float
    accepted: list[str] = field(default_factory=list)
    asked_again: int = 0
    enough: bool = False

    async def start_runs(self) -> None:
        """Start runs until there are `enough`."""
        async with self._client() as client, asyncio.TaskGroup() as group:
            for number in range(self.most_runs):
                if self.enough:
                    break
                group.create_task(self._start(client, number))
                await asyncio.sleep(1 / self.runs_per_second)

    async def more(self, runs: int) -> None:
        """Wait until so many more have been accepted."""
        wanted = len(self.accepted) + runs
        while len(self.accepted) < wanted:  # noqa: ASYNC110 - their answers come one by one
            await asyncio.sleep(0.1)

    async def workers(self, number: int) -> None:
        """Wait until the mesh sees so many workers."""
        async with self._client() as client:
            seen = -1
            while seen != number:
                await asyncio.sleep(0.5)
                answer = (await client.get("/v1/workers")).raise_for_status()
                seen = len(answer.json()["items"])

    async def _start(self, client: httpx2.AsyncClient, number: int) -> None:
        # The same key each time: what was accepted with its answer lost isn't started twice.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"crew": "hello", "inputs": {"topic": f"number {number}"}}
        while True:
            try:
                answer = await client.post("/v1/runs", json=body, headers=headers)
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.status_code not in _PASSING:
                assert answer.status_code == 202, answer.text
                self.accepted.append(answer.json()["id"])
                return
            self.asked_again += 1
            await asyncio.sleep(0.5)

    async def outcomes(self, seconds: float) -> Outcomes:
        """Wait until every accepted run has ended, then read each one's log."""
        found = Outcomes()
        async with self._client() as client, asyncio.timeout(seconds):
            for run_id in self.accepted:
                found.add(await self._ended(client, run_id), await self._events(client, run_id))
        return found

    async def _ended(self, client: httpx2.AsyncClient, run_id: str) -> dict[str, Any]:
        while True:
            run: dict[str, Any] = (await client.get(f"/v1/runs/{run_id}")).raise_for_status().json()
            if run["status"] in _ENDED:
                return run
            await asyncio.sleep(0.5)

    async def _events(self, client: httpx2.AsyncClient, run_id: str) -> list[dict[str, Any]]:
        answer = await client.get(f"/v1/runs/{run_id}/events", params={"limit": 200})
        events: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return events

    def _client(self) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=30, trust_env=False)


@dataclass
class Outcomes:
    """What became of the runs, by their records and by their logs."""

    statuses: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    workers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, run: dict[str, Any], events: list[dict[str, Any]]) -> None:
        self.statuses[run["status"]] += 1
        self.attempts[run["attempt"]] += 1
        numbers = [event["seq"] for event in events]
        if numbers != list(range(1, len(events) + 1)):
            self.faults.append(f"{run['id']}: its events are numbered {numbers}")
        ends = [event["type"] for event in events if event["type"].removeprefix("run.") in _ENDED]
        if ends != [f"run.{run['status']}"] or events[-1]["type"] != ends[-1]:
            self.faults.append(f"{run['id']} is {run['status']}, and its log ends by {ends}")
        if run["status"] != "succeeded":
            self.faults.append(f"{run['id']} {run['status']}: {run['error']}")
        started = [event for event in events if event["type"] in ("run.started", "run.resumed")]
        self.workers[started[-1]["payload"]["worker_id"]] += 1
