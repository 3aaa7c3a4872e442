"""Who is watching which run, in this replica.

Watchers read history from Postgres and are told here of what comes after it. A
watcher that doesn't keep up loses its queue, never its place: it reads history again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from crewmesh.v1 import run_pb2

_QUEUED_BYTES = 1024 * 1024


class Subscription:
    """One watcher's queue of batches of events."""

    def __init__(self) -> None:
        self._batches: deque[tuple[Sequence[run_pb2.RunEvent], int]] = deque()
        self._bytes = 0
        self._head: int | None = None
        self._missed = False
        self._changed = asyncio.Event()

    def push(self, events: Sequence[run_pb2.RunEvent], size: int) -> None:
        """Queue a batch of `size` bytes; an empty one, or one too many, means: read history."""
        if events and self._bytes < _QUEUED_BYTES and not self._missed:
            self._batches.append((events, size))
            self._bytes += size
            self.knows(events[-1].seq)
        else:
            self._batches.clear()
            self._bytes = 0
            self._missed = True
        self._changed.set()

    @property
    def head(self) -> int | None:
        """Number of the last event that it was given; None while it has to read history."""
        return None if self._missed else self._head

    def knows(self, seq: int) -> None:
        """Note that the watcher knows the log up to that number."""
        self._head = max(self._head or 0, seq)

    async def next(self) -> Sequence[run_pb2.RunEvent]:
        """Return the next batch; an empty one when history must be read."""
        if not self._batches and not self._missed:
            await self._changed.wait()
        self._changed.clear()
        if self._batches:
            events, size = self._batches.popleft()
            self._bytes -= size
            return events
        self._missed = False
        return ()


class EventHub:
    """Hands newly stored events to those who watch their run."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = defaultdict(set)

    @contextmanager
    def subscribe(self, run_id: str) -> Iterator[Subscription]:
        """Watch a run for the length of a `with` block."""
        subscription = Subscription()
        self._subscriptions[run_id].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[run_id].discard(subscription)
            if not self._subscriptions[run_id]:
                del self._subscriptions[run_id]

    def is_watched(self, run_id: str) -> bool:
        """Return whether somebody here watches the run."""
        return run_id in self._subscriptions

    @property
    def watched(self) -> list[str]:
        """The runs that somebody here watches."""
        return list(self._subscriptions)

    def head(self, run_id: str) -> int | None:
        """Return the number of the last event that all of a run's watchers were given.

        None when there is none, or one that has to read history.
        """
        heads = [subscription.head for subscription in self._subscriptions.get(run_id, ())]
        known = [head for head in heads if head is not None]
        return min(known) if known and len(known) == len(heads) else None

    def publish(self, run_id: str, events: Sequence[run_pb2.RunEvent]) -> None:
        """Tell a run's watchers of events that are stored now; none: that there are some."""
        if subscriptions := self._subscriptions.get(run_id):
            size = sum(event.ByteSize() for event in events)
            for subscription in subscriptions:
                subscription.push(events, size)
