"""How many runs a worker executes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Slots:
    """Counts the places that are taken, and tells when that changes."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken = 0
        self.closed = False
        # Set while no place is taken.
        self.empty = asyncio.Event()
        self.empty.set()
        self._listeners: list[Callable[[], None]] = []

    @property
    def free(self) -> int:
        """Places for further runs; none once the worker drains."""
        return max(0, self.total - self._taken) if not self.closed else 0

    @property
    def taken(self) -> int:
        """Places in use. More than `total` for a moment, when a lease crosses a start."""
        return self._taken

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change."""
        self._listeners.append(listener)

    def take(self) -> None:
        """Take a place, free or not: a lease that came must be carried out."""
        self._taken += 1
        self.empty.clear()
        self._tell()

    def give_back(self) -> None:
        """Free a place."""
        self._taken -= 1
        if self._taken == 0:
            self.empty.set()
        self._tell()

    def close(self) -> None:
        """Have no free places from now on."""
        self.closed = True
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
