"""All clients of a mesh: when each of them comes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

import aiohttp
import grpc

from tests.chaos.client import Client, make_client
from tests.chaos.pace import Pace
from tests.chaos.session import Session
from tests.chaos.ways import Grpc, Rest

# Half of the runs come in crowds, for which there are too few slots, of so many on average.
_CROWD = 30
_CROWD_SECONDS = 0.3
# So that a stream over a black hole ends.
_CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Load:
    """Starts the clients, and knows what they were told."""

    def __init__(
        self,
        urls: Sequence[str],
        worker_addresses: Sequence[str],
        api_key: str,
        seed: int,
        runs: int,
        pace: Pace,
    ) -> None:
        self.clients: list[Client] = []
        self._urls = urls
        self._worker_addresses = worker_addresses
        self._api_key = api_key
        self._seed = seed
        self._runs = runs
        self._pace = pace

    @property
    def heard(self) -> int:
        """Return how much clients have been told so far."""
        return sum(client.heard for client in self.clients)

    async def run(self, spread_seconds: float) -> None:
        """Have the clients come within a span of the pace's time; return when each has its end."""
        async with self._connected() as (http, channels), asyncio.TaskGroup() as group:
            for moment, client in self._arrivals(spread_seconds):
                await self._pace.until(moment)
                self.clients.append(client)
                rng = random.Random(client.key)
                rest = Rest(http, self._urls, rng)
                direct = Grpc(channels, self._api_key, rng)
                group.create_task(self._serve(Session(client, rest, direct, rng)))

    async def _serve(self, session: Session) -> None:
        with self._pace.client():
            await session.run()

    def _arrivals(self, spread_seconds: float) -> list[tuple[float, Client]]:
        rng = random.Random(f"{self._seed}/load")
        crowds = [rng.uniform(0, spread_seconds) for _ in range(1 + self._runs // (2 * _CROWD))]
        arrivals = []
        for number in range(self._runs):
            alone = rng.uniform(0, spread_seconds)
            crowd = rng.choice(crowds) + rng.uniform(0, _CROWD_SECONDS)
            client = make_client(f"run-{self._seed}-{number}", rng)
            arrivals.append((rng.choice((alone, crowd)), client))
        return sorted(arrivals, key=lambda arrival: arrival[0])

    @contextlib.asynccontextmanager
    async def _connected(
        self,
    ) -> AsyncIterator[tuple[aiohttp.ClientSession, list[grpc.aio.Channel]]]:
        headers = {"Authorization": f"Bearer {self._api_key}"}
        connector = aiohttp.TCPConnector(limit=0)
        channels = [
            grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
            for address in self._worker_addresses
        ]
        async with aiohttp.ClientSession(
            headers=headers, connector=connector, read_bufsize=2**20
        ) as http:
            try:
                yield http, channels
            finally:
                await asyncio.gather(*(channel.close() for channel in channels))
