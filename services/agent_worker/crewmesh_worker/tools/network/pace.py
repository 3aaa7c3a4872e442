"""How fast a run asks: so many requests a second to one host, so many at once in all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiolimiter import AsyncLimiter


class Pace:
    """Belongs to one event loop. `host_rate` is in requests a second."""

    def __init__(self, host_rate: float, concurrent: int) -> None:
        self._host_rate = host_rate
        self._hosts: dict[tuple[str, float], AsyncLimiter] = {}
        self._places = asyncio.Semaphore(concurrent)

    @asynccontextmanager
    async def turn(self, host: str, delay: float = 0.0) -> AsyncIterator[None]:
        """Wait until the host may be asked, then hold one of the places.

        `delay` are the seconds that the host wants between two requests.
        """
        await self._limiter(host, delay).acquire()
        async with self._places:
            yield

    def _limiter(self, host: str, delay: float) -> AsyncLimiter:
        key = (host, delay)
        if key not in self._hosts:
            slow = delay > 1 / self._host_rate
            self._hosts[key] = AsyncLimiter(1, delay) if slow else AsyncLimiter(self._host_rate, 1)
        return self._hosts[key]
