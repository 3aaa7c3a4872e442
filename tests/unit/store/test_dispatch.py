"""What the store sends to workers, and what it says of when."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh_store.runs.dispatch import AttachedWorker, Dispatcher


class Queue:
    """One run that waits; `meanwhile` happens while it is claimed."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.handed_back: asyncio.Queue[run_store_pb2.Lease] = asyncio.Queue()
        self._meanwhile = meanwhile
        self._leases = [run_store_pb2.Lease(epoch=1)]

    async def claim(self, worker_ids: Sequence[str]) -> list[run_store_pb2.Lease]:
        if not self._leases:
            return []
        self._meanwhile()
        lease = self._leases.pop()
        lease.run.CopyFrom(run_pb2.Run(id="run-1", worker_id=worker_ids[0]))
        return [lease]

    async def hand_back(self, lease: run_store_pb2.Lease) -> None:
        self.handed_back.put_nowait(lease)


@contextlib.asynccontextmanager
async def dispatching(
    queue: Queue, clock: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[Dispatcher]:
    """Dispatch by a clock that stands: a worker isn't silent because the machine was busy."""
    dispatcher = Dispatcher(queue.claim, queue.hand_back, clock)
    task = asyncio.create_task(dispatcher.run())
    yield dispatcher
    task.cancel()


def hear(worker: AttachedWorker, dispatcher: Dispatcher, at_us: int) -> None:
    worker.set_capacity(run_store_pb2.WorkerCapacity(free_slots=1, sent_at_us=at_us))
    dispatcher.capacity_changed()


async def test_a_lease_counts_from_what_its_worker_said_before_the_claim_began() -> None:
    queue = Queue(meanwhile=lambda: hear(worker, dispatcher, 9))
    async with dispatching(queue) as dispatcher:
        with dispatcher.attach("w1") as worker:
            hear(worker, dispatcher, 7)
            message = await anext(worker.messages())
    assert message.lease.asked_at_us == 7


async def test_a_lease_is_handed_back_when_its_worker_went_away_during_the_claim() -> None:
    with contextlib.ExitStack() as first_stream:
        queue = Queue(meanwhile=first_stream.close)
        async with dispatching(queue) as dispatcher:
            hear(first_stream.enter_context(dispatcher.attach("w1")), dispatcher, 7)
            assert (await queue.handed_back.get()).run.id == "run-1"


async def test_a_lease_is_not_sent_over_a_stream_that_was_opened_after_the_claim_began() -> None:
    def open_another() -> None:
        hear(streams.enter_context(dispatcher.attach("w1")), dispatcher, 1)

    with contextlib.ExitStack() as streams:
        queue = Queue(meanwhile=open_another)
        async with dispatching(queue) as dispatcher:
            hear(streams.enter_context(dispatcher.attach("w1")), dispatcher, 7)
            assert (await queue.handed_back.get()).run.id == "run-1"


async def test_a_worker_that_has_gone_silent_is_given_nothing_until_it_speaks_again() -> None:
    now = 0.0
    queue = Queue(meanwhile=lambda: None)
    async with dispatching(queue, lambda: now) as dispatcher:
        with dispatcher.attach("w1") as silent, dispatcher.attach("w2") as other:
            silent.set_capacity(run_store_pb2.WorkerCapacity(free_slots=4))
            now = 2.0
            hear(other, dispatcher, 7)
            assert (await anext(other.messages())).lease.run.worker_id == "w2"
            assert silent.available == 0
            hear(silent, dispatcher, 8)
            assert silent.available == 1
