"""Gives queued runs to attached workers that have free slots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh.v1 import run_store_pb2

log = structlog.get_logger(__name__)

# Claimed at once at most, so that one statement stays short.
_BATCH = 64
# For runs that become available with time, and for wake-ups that got lost.
_POLL_SECONDS = 1.0
# Workers speak several times a second. One that doesn't is frozen or cut off, though its
# stream is open, and what it were given now would have to expire first.
_SILENT_SECONDS = 1.0


class AttachedWorker:
    """A worker's end of its AttachWorker stream."""

    def __init__(self, worker_id: str, clock: Callable[[], float]) -> None:
        self.worker_id = worker_id
        self._clock = clock
        self._heard_at = clock()
        self._outbox: asyncio.Queue[run_store_pb2.AttachWorkerResponse] = asyncio.Queue()
        self._free_slots = 0
        self._leases_received = 0
        self._leases_sent = 0
        # By the worker's clock: when it sent the newest of what has come.
        self.heard_us = 0
        # It drains and gets nothing more: when its stream ends, it isn't coming back.
        self.retired = False

    @property
    def available(self) -> int:
        """Free slots, less those that leases on their way will take; none while it is silent."""
        if self._clock() - self._heard_at > _SILENT_SECONDS:
            return 0
        return self._free_slots - (self._leases_sent - self._leases_received)

    def set_capacity(self, capacity: run_store_pb2.WorkerCapacity) -> None:
        """Take the worker's own count."""
        self._heard_at = self._clock()
        self._free_slots = capacity.free_slots
        self._leases_received = capacity.leases_received
        self.heard_us = capacity.sent_at_us

    def send_lease(self, lease: run_store_pb2.Lease) -> None:
        """Push a lease."""
        self._leases_sent += 1
        self._outbox.put_nowait(run_store_pb2.AttachWorkerResponse(lease=lease))

    def send_cancel(self, run_id: str, epoch: int) -> None:
        """Push a request for cancellation."""
        cancel = run_store_pb2.CancelRequested(run_id=run_id, epoch=epoch)
        self._outbox.put_nowait(run_store_pb2.AttachWorkerResponse(cancel=cancel))

    def send_no_more_leases(self) -> None:
        """Push that no lease follows."""
        self.retired = True
        self._outbox.put_nowait(
            run_store_pb2.AttachWorkerResponse(no_more_leases=run_store_pb2.NoMoreLeases())
        )

    async def messages(self) -> AsyncIterator[run_store_pb2.AttachWorkerResponse]:
        """Yield what is to be sent, for ever."""
        while True:
            yield await self._outbox.get()


class Dispatcher:
    """Claims as many queued runs as there are free slots, whenever either appears."""

    def __init__(
        self,
        claim: Callable[[Sequence[str]], Awaitable[list[run_store_pb2.Lease]]],
        hand_back: Callable[[run_store_pb2.Lease], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claim = claim
        self._hand_back = hand_back
        self._clock = clock
        self._workers: dict[str, AttachedWorker] = {}
        self._wake = asyncio.Event()
        # Held from a claim to the sending of its leases.
        self._claiming = asyncio.Lock()
        # False once a claim found fewer runs than slots: asking again is of no use
        # until a run is queued.
        self._may_have_queued = True

    @contextmanager
    def attach(self, worker_id: str) -> Iterator[AttachedWorker]:
        """Hold a worker in the fleet for the length of a `with` block."""
        worker = AttachedWorker(worker_id, self._clock)
        self._workers[worker_id] = worker
        try:
            yield worker
        finally:
            if self._workers.get(worker_id) is worker:
                del self._workers[worker_id]

    async def retire(self, worker: AttachedWorker) -> None:
        """Send what was claimed for a worker that has said that it drains; then tell it so."""
        async with self._claiming:
            worker.send_no_more_leases()

    def run_queued(self) -> None:
        """Look for work for those who have room."""
        self._may_have_queued = True
        self._wake.set()

    def capacity_changed(self) -> None:
        """Look for room for what is queued."""
        if self._may_have_queued:
            self._wake.set()

    def cancel(self, worker_id: str, run_id: str, epoch: int) -> None:
        """Tell the worker, if it is attached here."""
        worker = self._workers.get(worker_id)
        if worker is not None:
            worker.send_cancel(run_id, epoch)

    async def run(self) -> None:
        """Dispatch until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                self._may_have_queued = True
            self._wake.clear()
            try:
                await self._dispatch()
            except CrewmeshError as error:
                log.warning("can't claim runs", reason=error.message)

    async def _dispatch(self) -> None:
        more = True
        while more:
            async with self._claiming:
                more = await self._claim_and_send()

    async def _claim_and_send(self) -> bool:
        """Return whether there may be more runs for whom there is room."""
        places = self._places()
        if not places:
            return False
        self._may_have_queued = False
        # Who is here and what they said, before the claim: a lease counts from then.
        asking = {name: (self._workers[name], self._workers[name].heard_us) for name in places}
        leases = await self._claim(places)
        astray = []
        for lease in leases:
            worker, lease.asked_at_us = asking[lease.run.worker_id]
            if self._workers.get(worker.worker_id) is worker:
                worker.send_lease(lease)
            else:
                astray.append(lease)
        for lease in astray:
            await self._hand_back(lease)
        if len(leases) < len(places):
            return False
        self._may_have_queued = True
        return True

    def _places(self) -> list[str]:
        """Name a worker for each free slot, those with most room first and in turn."""
        room = {w.worker_id: w.available for w in self._workers.values() if w.available > 0}
        places: list[str] = []
        while room and len(places) < _BATCH:
            worker_id = max(room, key=room.__getitem__)
            places.append(worker_id)
            room[worker_id] -= 1
            if room[worker_id] == 0:
                del room[worker_id]
        return places
