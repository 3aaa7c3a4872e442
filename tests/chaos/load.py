"""Clients: each starts a run, follows it, perhaps cancels it, and writes down all it was told."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Json = dict[str, Any]

TERMINAL_TYPES = frozenset({"run.succeeded", "run.failed", "run.cancelled", "run.timed_out"})
# A client that isn't answered asks somebody else.
_CALL_SECONDS = 15.0
# The gateway says something every 15 s.
_SILENCE_SECONDS = 20.0
_PAUSE_SECONDS = (0.05, 0.5)

_SENT_TWICE = 0.2
_CANCELLED = 0.15
_TWO_WATCHERS = 0.25
_RESTLESS = 0.5
_FEW_ATTEMPTS = 0.1
_PAYS = 0.4
# Half of the runs come in crowds, for which there are too few slots, of so many on average.
_CROWD = 30
_CROWD_SECONDS = 0.3


@dataclass
class Client:
    """What one client asked for, and everything that it was told."""

    key: str
    tasks: int
    # Whether each task calls a tool with a side effect.
    pays: bool
    max_attempts: int
    # Of every answer that accepted the run.
    accepted: list[str] = field(default_factory=list)
    # For each watcher, the events that it saw, in order.
    seen: list[list[Json]] = field(default_factory=list)
    # The run as it was shown in answers to requests for cancellation.
    cancels: list[Json] = field(default_factory=list)
    # The run as it was shown in the end.
    final: Json | None = None
    # What no client should ever be told.
    complaints: list[str] = field(default_factory=list)
    reconnects: int = 0
    repetitions: int = 0

    @property
    def run_id(self) -> str:
        """Return the run's id, or "" while it isn't accepted."""
        return self.accepted[0] if self.accepted else ""


class Load:
    """All clients of a mesh."""

    def __init__(self, urls: Sequence[str], api_key: str, seed: int, runs: int) -> None:
        self.clients: list[Client] = []
        self._urls = urls
        self._api_key = api_key
        self._seed = seed
        self._runs = runs

    @property
    def heard(self) -> int:
        """Return how much clients have been told so far."""
        return sum(
            len(client.accepted) + sum(map(len, client.seen)) + (client.final is not None)
            for client in self.clients
        )

    async def run(self, spread_seconds: float) -> None:
        """Start the runs at random times within a span; return when every client has its end."""
        rng = random.Random(f"{self._seed}/load")
        crowds = [rng.uniform(0, spread_seconds) for _ in range(1 + self._runs // (2 * _CROWD))]
        headers = {"Authorization": f"Bearer {self._api_key}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(headers=headers, connector=connector, read_bufsize=2**20) as http,
            asyncio.TaskGroup() as group,
        ):
            for number in range(self._runs):
                client = Client(
                    f"run-{self._seed}-{number}",
                    rng.randint(1, 5),
                    rng.random() < _PAYS,
                    rng.randint(1, 2) if rng.random() < _FEW_ATTEMPTS else 20,
                )
                self.clients.append(client)
                session = _Session(client, http, self._urls, random.Random(client.key))
                alone = rng.uniform(0, spread_seconds)
                crowd = rng.choice(crowds) + rng.uniform(0, _CROWD_SECONDS)
                group.create_task(session.run(rng.choice((alone, crowd))))


class _Session:
    """A client at work."""

    def __init__(
        self,
        client: Client,
        http: aiohttp.ClientSession,
        urls: Sequence[str],
        rng: random.Random,
    ) -> None:
        self._client = client
        self._http = http
        self._urls = urls
        self._rng = rng

    async def run(self, wait_seconds: float) -> None:
        await asyncio.sleep(wait_seconds)
        copies = self._rng.randint(2, 3) if self._rng.random() < _SENT_TWICE else 1
        await asyncio.gather(*(self._start() for _ in range(copies)))
        if not self._client.accepted:
            return
        watchers = 2 if self._rng.random() < _TWO_WATCHERS else 1
        work = [self._watch() for _ in range(watchers)]
        if self._rng.random() < _CANCELLED:
            work.append(self._cancel())
        await asyncio.gather(*work)
        self._client.final = await self._ask("GET", f"/v1/runs/{self._client.run_id}")

    async def _start(self) -> None:
        client = self._client
        body = {
            "crew": "chaos",
            "inputs": {"key": client.key, "tasks": client.tasks, "pays": client.pays},
            "max_attempts": client.max_attempts,
        }
        run = await self._ask("POST", "/v1/runs", body, {"Idempotency-Key": client.key})
        if run is not None:
            client.accepted.append(run["id"])

    async def _cancel(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.0, 1.5))
        run = await self._ask("POST", f"/v1/runs/{self._client.run_id}/cancel", {})
        if run is not None:
            self._client.cancels.append(run)

    async def _ask(
        self, method: str, path: str, body: Json | None = None, headers: Any = None
    ) -> Json | None:
        """Ask, repeatedly if need be, and return the answer; None where it is a refusal."""
        timeout = aiohttp.ClientTimeout(total=_CALL_SECONDS)
        while True:
            url = self._rng.choice(self._urls) + path
            try:
                async with self._http.request(
                    method, url, json=body, headers=headers, timeout=timeout
                ) as response:
                    text = await response.text()
                    if response.status < 300:
                        answer: Json = json.loads(text)
                        return answer
                    if response.status < 500 and response.status != 429:
                        self._client.complaints.append(f"{method} {path}: {response.status} {text}")
                        return None
            except (aiohttp.ClientError, TimeoutError):
                pass
            self._client.repetitions += 1
            await self._pause()

    async def _watch(self) -> None:
        """Follow the run to its end over as many connections as it takes."""
        seen: list[Json] = []
        self._client.seen.append(seen)
        restless = self._rng.random() < _RESTLESS
        while not (seen and seen[-1]["type"] in TERMINAL_TYPES):
            leave_after = self._rng.randint(1, 15) if restless else None
            try:
                if await self._watch_once(seen, leave_after):
                    return
            except (aiohttp.ClientError, TimeoutError):
                pass
            self._client.reconnects += 1
            await self._pause()

    async def _watch_once(self, seen: list[Json], leave_after: int | None) -> bool:
        """Read one connection; return whether there is no use in another."""
        path = f"/v1/runs/{self._client.run_id}/events"
        headers = {"Accept": "text/event-stream"}
        if seen:
            headers["Last-Event-ID"] = str(seen[-1]["seq"])
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_SECONDS)
        begun_with = len(seen)
        async with self._http.get(
            self._rng.choice(self._urls) + path, headers=headers, timeout=timeout
        ) as response:
            if response.status != 200:
                refused = response.status < 500 and response.status != 429
                if refused:
                    self._client.complaints.append(f"GET {path}: {response.status}")
                return refused
            async for line in response.content:
                if line.startswith(b"data: "):
                    seen.append(json.loads(line[6:]))
                    if len(seen) - begun_with == leave_after:
                        return False
        return False

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.uniform(*_PAUSE_SECONDS))
