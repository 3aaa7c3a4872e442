"""A worker that drains, at a real store."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from crewmesh.v1 import agent_pb2, run_pb2, run_store_pb2
from crewmesh_worker.runs.leases import LeaseReceiver
from crewmesh_worker.runs.slots import Slots
from tests.integration.conftest import StoreClient, append, event

QUEUED = run_pb2.RUN_STATUS_QUEUED


class Taken:
    """Stands where the executor does, and only notes what is to be executed."""

    checked_at = (math.inf, math.inf)

    def __init__(self) -> None:
        self.leases: list[run_store_pb2.Lease] = []

    def start(self, lease: run_store_pb2.Lease, asked_at: float) -> None:
        self.leases.append(lease)


async def running_at(store: StoreClient, worker_id: str) -> set[str]:
    request = agent_pb2.ListRunsRequest(status=run_pb2.RUN_STATUS_RUNNING, page_size=200)
    runs = (await store.runs.ListRuns(request, metadata=store.person)).runs
    return {run.id for run in runs if run.worker_id == worker_id}


async def test_whoever_has_retired_holds_every_lease_that_it_was_given(store: StoreClient) -> None:
    for number in range(10):
        slots, taken = Slots(4), Taken()
        hello = run_store_pb2.WorkerHello(worker_id=f"w{number}", slots=4)
        executor: Any = taken
        receiver = LeaseReceiver(store.runs, store.signer, hello, slots, executor)
        receiving = asyncio.create_task(receiver.run())
        await receiver.attached.wait()
        # In the midst of which it begins to drain.
        creating = [asyncio.create_task(store.create()) for _ in range(8)]
        await creating[number % 8]
        slots.close()
        await receiver.retire()
        await asyncio.gather(*creating)
        held = {lease.run.id for lease in taken.leases}
        assert held == await running_at(store, hello.worker_id)
        for lease in taken.leases:
            handed_back = event("run.queued")
            await store.append(append(lease, lease.next_seq, handed_back, status=QUEUED))
        receiving.cancel()


async def test_a_worker_drains_without_a_store_too(store: StoreClient) -> None:
    slots = Slots(1)
    hello = run_store_pb2.WorkerHello(worker_id="w1", slots=1)
    executor: Any = Taken()
    receiver = LeaseReceiver(store.runs, store.signer, hello, slots, executor)
    slots.close()
    await receiver.retire()
