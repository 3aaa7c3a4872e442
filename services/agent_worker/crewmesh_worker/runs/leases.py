"""How leases come from the store, and how they are kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh.common.grpc_client import ending
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import IdentitySigner
from crewmesh.v1 import run_store_pb2, run_store_pb2_grpc
from crewmesh_worker import clock
from crewmesh_worker.runs.executor import Executor
from crewmesh_worker.runs.slots import Slots

log = structlog.get_logger(__name__)

_RECONNECT_SECONDS: Final = 0.5
# After a stream that was good for a while: before the store takes this worker for gone.
_FIRST_RECONNECT_SECONDS: Final = 0.05
_GOOD_SECONDS: Final = 1.0
# How long a worker that drains waits for the store to say that no lease is on its way.
_RETIRE_SECONDS: Final = 2.0
_RENEWALS_PER_LEASE: Final = 3
_OVERDUE_CHECK_SECONDS: Final = 0.25
# A lease is counted from what we said last before it was claimed.
_SPEAK_SECONDS: Final = 0.25


class LeaseReceiver:
    """Stays attached to the store, says how many slots are free, takes the leases it sends."""

    def __init__(
        self,
        store: run_store_pb2_grpc.RunStoreServiceAsyncStub,
        signer: IdentitySigner,
        hello: run_store_pb2.WorkerHello,
        slots: Slots,
        executor: Executor,
    ) -> None:
        self._store = store
        self._signer = signer
        self._hello = hello
        self._slots = slots
        self._executor = executor
        self._received = 0
        self._changed = asyncio.Event()
        slots.on_change(self._changed.set)
        # Set while a stream is open.
        self.attached = asyncio.Event()
        self._retired = asyncio.Event()

    async def run(self) -> None:
        """Stay attached until cancelled."""
        while True:
            began = clock.now()
            try:
                with rpc_errors():
                    await self._attach()
            except CrewmeshError as error:
                log.warning("not attached to the store", reason=error.message)
            finally:
                self.attached.clear()
            was_good = clock.now() - began > _GOOD_SECONDS
            await asyncio.sleep(_FIRST_RECONNECT_SECONDS if was_good else _RECONNECT_SECONDS)

    async def retire(self) -> None:
        """Return once no further lease can come, the slots being closed; soon, in any case."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RETIRE_SECONDS):
                await self._retired.wait()

    async def _attach(self) -> None:
        self._received = 0
        # Waits for a connection: a new one after a break takes a moment, and there is no other
        # store to ask then.
        call = self._store.AttachWorker(
            self._requests(), metadata=self._signer.metadata(), wait_for_ready=True
        )
        with ending(call):
            async for message in call:
                self._take(message)

    async def _requests(self) -> AsyncIterator[run_store_pb2.AttachWorkerRequest]:
        yield run_store_pb2.AttachWorkerRequest(hello=self._hello)
        self.attached.set()
        while True:
            capacity = run_store_pb2.WorkerCapacity(
                free_slots=self._slots.free,
                leases_received=self._received,
                sent_at_us=clock.now_us(),
                draining=self._slots.closed,
            )
            yield run_store_pb2.AttachWorkerRequest(capacity=capacity)
            await self._news_since(capacity)

    async def _news_since(self, told: run_store_pb2.WorkerCapacity) -> None:
        """Return at a change that the store can't have counted itself, or after a while.

        A slot that a lease has just taken is no news.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SPEAK_SECONDS):
                while (
                    self._slots.free + self._received == told.free_slots + told.leases_received
                    and self._slots.closed == told.draining
                ):
                    self._changed.clear()
                    await self._changed.wait()

    def _take(self, message: run_store_pb2.AttachWorkerResponse) -> None:
        if message.HasField("lease"):
            self._received += 1
            self._slots.take()
            self._executor.start(message.lease, message.lease.asked_at_us / 1_000_000)
        elif message.HasField("no_more_leases"):
            self._retired.set()
        elif message.HasField("cancel"):
            self._executor.cancel(message.cancel.run_id, message.cancel.epoch)


class LeaseKeeper:
    """Renews leases, and stops the runs of those that can't be renewed."""

    def __init__(
        self,
        store: run_store_pb2_grpc.RunStoreServiceAsyncStub,
        signer: IdentitySigner,
        worker_id: str,
        slots: Slots,
        executor: Executor,
    ) -> None:
        self._store = store
        self._signer = signer
        self._worker_id = worker_id
        self._slots = slots
        self._executor = executor
        self._ttl_seconds = 3.0

    async def run(self) -> None:
        """Renew until cancelled."""
        renewing = asyncio.create_task(self._renew_repeatedly())
        try:
            while True:
                await asyncio.sleep(_OVERDUE_CHECK_SECONDS)
                self._executor.lose_overdue()
        finally:
            renewing.cancel()

    async def _renew_repeatedly(self) -> None:
        while True:
            try:
                await self._renew()
            except CrewmeshError as error:
                log.warning("can't renew leases", reason=error.message)
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue
            await asyncio.sleep(self._ttl_seconds / _RENEWALS_PER_LEASE)

    async def _renew(self) -> None:
        asked_at = clock.now()
        leases = self._executor.leases()
        request = run_store_pb2.RenewLeasesRequest(
            worker_id=self._worker_id, leases=leases, free_slots=self._slots.free
        )
        with rpc_errors():
            response = await self._store.RenewLeases(
                request,
                metadata=self._signer.metadata(),
                timeout=self._ttl_seconds / _RENEWALS_PER_LEASE,
            )
        self._ttl_seconds = response.ttl.ToTimedelta().total_seconds()
        lost = {(lease.run_id, lease.epoch) for lease in response.lost}
        kept = [lease for lease in leases if (lease.run_id, lease.epoch) not in lost]
        self._executor.renewed(kept, asked_at + self._ttl_seconds)
        for run_id, epoch in lost:
            self._executor.lose(run_id, epoch)
        for lease in response.cancelled:
            self._executor.cancel(lease.run_id, lease.epoch)
