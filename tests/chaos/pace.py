"""The harness's own time, which stands still while the mesh has more than it can take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

_TICK_SECONDS = 0.02
_MOST_CLIENTS = 120
_MOST_FAULTS = 8


class Pace:
    """Seconds since the load began, less those in which too much was going on already.

    A slow machine makes a chaos run longer, and changes nothing else about it.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._clients = 0
        self._faults = 0

    async def run(self) -> None:
        """Let time pass until cancelled."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.monotonic()
            if self._clients < _MOST_CLIENTS and self._faults < _MOST_FAULTS:
                # Not what this process itself was held up for.
                self.now += min(now - last, 2 * _TICK_SECONDS)
            last = now

    async def until(self, moment: float) -> None:
        """Return when it is so late."""
        while self.now < moment:  # noqa: ASYNC110 - few wait, and not long
            await asyncio.sleep(_TICK_SECONDS)

    @contextlib.contextmanager
    def client(self) -> Iterator[None]:
        """Count a client at work."""
        self._clients += 1
        try:
            yield
        finally:
            self._clients -= 1

    @contextlib.contextmanager
    def fault(self) -> Iterator[None]:
        """Count a fault that isn't over."""
        self._faults += 1
        try:
            yield
        finally:
            self._faults -= 1
