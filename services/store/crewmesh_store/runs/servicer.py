"""crewmesh.v1.RunStoreService."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final
from uuid import UUID

import structlog
from uuid6 import uuid7

from crewmesh.common.errors import (
    CrewmeshError,
    InvalidInputError,
    NotFoundError,
    StateError,
    Violation,
)
from crewmesh.common.events import TERMINAL_EVENT_TYPES
from crewmesh.common.grpc_server import caller
from crewmesh.v1 import agent_pb2, run_pb2, run_store_pb2, run_store_pb2_grpc
from crewmesh_store.messages import batch_of_ids, check_batch, duration, page_bounds
from crewmesh_store.metrics import StoreMetrics
from crewmesh_store.runs.dispatch import AttachedWorker, Dispatcher
from crewmesh_store.runs.follower import Follower
from crewmesh_store.runs.hub import EventHub, Subscription
from crewmesh_store.runs.messages import TERMINAL_STATUSES, run_from_row
from crewmesh_store.runs.repository import RunRepository
from crewmesh_store.runs.wakeups import Wakeup, Wakeups

log = structlog.get_logger(__name__)

# A worker whose stream broke, but which lives, is back by then.
_REATTACH_SECONDS: Final = 0.5
# What a watcher that doesn't keep up holds at each hop, about.
_EVENTS_PER_READ: Final = 500
_BYTES_PER_READ: Final = 256 * 1024
_MAX_CREWS: Final = 200
# Well within what one message may have.
_BYTES_PER_PAGE: Final = 4 * 1024 * 1024
_MAX_WAIT_SECONDS: Final = 60.0


class RunStoreServicer(run_store_pb2_grpc.RunStoreServiceServicer):
    """Runs, their logs and their leases, over gRPC."""

    def __init__(
        self,
        runs: RunRepository,
        hub: EventHub,
        follower: Follower,
        dispatcher: Dispatcher,
        wakeups: Wakeups,
        metrics: StoreMetrics,
    ) -> None:
        self._runs = runs
        self._hub = hub
        self._follower = follower
        self._dispatcher = dispatcher
        self._wakeups = wakeups
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Leave to the leases' expiry what would be done later."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Workers ------------------------------------------------------------------

    async def CreateRun(
        self, request: run_store_pb2.CreateRunRequest, context: Any
    ) -> run_store_pb2.CreateRunResponse:
        created = await self._runs.create(request, caller())
        if not created.replayed:
            self._metrics.created.inc()
            self._metrics.leases.inc(created.lease is not None)
            log.info("run accepted", run_id=created.run.id, crew=created.run.crew)
        if created.lease is None and not created.replayed:
            self.announce_queued()
        return run_store_pb2.CreateRunResponse(
            run=created.run, replayed=created.replayed, lease=created.lease
        )

    async def AttachWorker(
        self, request_iterator: AsyncIterator[run_store_pb2.AttachWorkerRequest], context: Any
    ) -> AsyncIterator[run_store_pb2.AttachWorkerResponse]:
        first = await anext(aiter(request_iterator), None)
        if first is None or not first.HasField("hello"):
            raise InvalidInputError("the first message of AttachWorker is hello")
        worker_id, session_id = first.hello.worker_id, UUID(bytes=uuid7().bytes)
        await self._runs.put_worker(first.hello, session_id)
        # Until it hears from us, the worker's gRPC keeps all that it says, to say it again.
        await context.send_initial_metadata(())
        with (
            self._metrics.workers.track_inprogress(),
            self._dispatcher.attach(worker_id) as worker,
        ):
            reader = asyncio.create_task(self._read_capacity(request_iterator, worker))
            try:
                async for message in worker.messages():
                    yield message
            finally:
                reader.cancel()
                grace = 0.0 if worker.retired else _REATTACH_SECONDS
                self._background(self._detach(worker_id, session_id, grace))

    async def _detach(self, worker_id: str, session_id: UUID, grace_seconds: float) -> None:
        """Take the runs of a worker that is gone, and forget it, unless it comes back at once."""
        await asyncio.sleep(grace_seconds)
        try:
            for run, status in await self._runs.take_back_from(worker_id, session_id):
                log.warning("its worker is gone", run_id=run, worker_id=worker_id, status=status)
                self._metrics.recovered("worker_lost")
                self.run_moved(run, status)
            await self._runs.forget_worker(worker_id, session_id)
        except CrewmeshError as error:
            log.warning("a lost worker's leases will expire", reason=error.message)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_capacity(
        self, requests: AsyncIterator[run_store_pb2.AttachWorkerRequest], worker: AttachedWorker
    ) -> None:
        async for request in requests:
            worker.set_capacity(request.capacity)
            if request.capacity.draining:
                await self._dispatcher.retire(worker)
            self._dispatcher.capacity_changed()

    async def RenewLeases(
        self, request: run_store_pb2.RenewLeasesRequest, context: Any
    ) -> run_store_pb2.RenewLeasesResponse:
        return await self._runs.renew(request)

    async def AppendEvents(
        self, request: run_store_pb2.AppendEventsRequest, context: Any
    ) -> run_store_pb2.AppendEventsResponse:
        if len({append.run_id for append in request.appends}) != len(request.appends):
            raise InvalidInputError("at most one append for each run")
        if not all(append.events for append in request.appends):
            raise InvalidInputError("an append holds at least one event")
        results = await self._runs.append(request.appends)
        for append, stored in zip(request.appends, results, strict=True):
            if stored.events is not None:
                self._metrics.stored(append, cancelled=stored.cancelled)
                self._announce(append.run_id, stored.events)
        if any(stored.makes_room for stored in results):
            self.announce_queued()
        return run_store_pb2.AppendEventsResponse(results=[stored.result for stored in results])

    async def RecordEffect(
        self, request: run_store_pb2.RecordEffectRequest, context: Any
    ) -> run_store_pb2.RecordEffectResponse:
        await self._runs.record_effect(request)
        return run_store_pb2.RecordEffectResponse()

    async def ListWorkers(
        self, request: run_store_pb2.ListWorkersRequest, context: Any
    ) -> run_store_pb2.ListWorkersResponse:
        return run_store_pb2.ListWorkersResponse(
            workers=await self._runs.list_workers(),
            queue=await self._runs.read_queue(caller().require_org()),
            lease_ttl=duration(self._runs.lease_ttl),
        )

    # People -------------------------------------------------------------------

    async def GetRun(
        self, request: agent_pb2.GetRunRequest, context: Any
    ) -> agent_pb2.GetRunResponse:
        org_id = caller().require_org()
        wait = min(request.wait.ToTimedelta().total_seconds(), _MAX_WAIT_SECONDS)
        with self._hub.subscribe(request.run_id) as subscription:
            end = time.monotonic() + wait
            while True:
                run = await self._runs.get(request.run_id, org_id, tasks=True)
                if run is None:
                    raise _no_run(request.run_id)
                if run.status in TERMINAL_STATUSES or time.monotonic() >= end:
                    return agent_pb2.GetRunResponse(run=run)
                subscription.knows(run.last_seq)
                await _next_end(subscription, end)

    async def ListRuns(
        self, request: agent_pb2.ListRunsRequest, context: Any
    ) -> agent_pb2.ListRunsResponse:
        limit, before = page_bounds(request.page_size, request.page_token)
        runs = await self._runs.list_page(request, caller(), before, limit + 1)
        more = len(runs) > limit
        return agent_pb2.ListRunsResponse(
            runs=runs[:limit], next_page_token=runs[limit - 1].id if more else ""
        )

    async def BatchGetRuns(
        self, request: run_store_pb2.BatchGetRunsRequest, context: Any
    ) -> run_store_pb2.BatchGetRunsResponse:
        ids = batch_of_ids(request.run_ids, "run_ids")
        runs = await self._runs.get_many(ids, caller().require_org())
        return run_store_pb2.BatchGetRunsResponse(runs=runs)

    async def BatchListRuns(
        self, request: run_store_pb2.BatchListRunsRequest, context: Any
    ) -> run_store_pb2.BatchListRunsResponse:
        check_batch(request.crews, "crews", _MAX_CREWS)
        limit, _ = page_bounds(request.page_size, "")
        runs = await self._runs.list_of_crews(request.crews, caller().require_org(), limit)
        return run_store_pb2.BatchListRunsResponse(runs=runs)

    async def BatchListRunEvents(
        self, request: run_store_pb2.BatchListRunEventsRequest, context: Any
    ) -> run_store_pb2.BatchListRunEventsResponse:
        limit, _ = page_bounds(request.page_size, "", default=100, limit=1000)
        events = await self._runs.read_events_of(
            _wanted(request),
            caller().require_org(),
            request.after_seq,
            limit,
            _BYTES_PER_PAGE,
            request.types,
        )
        return run_store_pb2.BatchListRunEventsResponse(events=events)

    async def ListRunEvents(
        self, request: agent_pb2.ListRunEventsRequest, context: Any
    ) -> agent_pb2.ListRunEventsResponse:
        limit, _ = page_bounds(request.page_size, "", default=100, limit=1000)
        await self._require_run(request.run_id)
        events, more = await self._runs.read_events(
            request.run_id, request.after_seq, limit, _BYTES_PER_PAGE
        )
        return agent_pb2.ListRunEventsResponse(events=events, more=more)

    async def WatchRun(
        self, request: agent_pb2.WatchRunRequest, context: Any
    ) -> AsyncIterator[agent_pb2.WatchRunResponse]:
        run = await self._require_run(request.run_id)
        if run.status in TERMINAL_STATUSES and request.after_seq >= run.last_seq:
            return
        cursor = request.after_seq
        with (
            self._metrics.watchers.track_inprogress(),
            self._hub.subscribe(run.id) as subscription,
        ):
            while True:
                history, more = await self._runs.read_events(
                    run.id, cursor, _EVENTS_PER_READ, _BYTES_PER_READ
                )
                if history:
                    yield agent_pb2.WatchRunResponse(events=history)
                    cursor = history[-1].seq
                    if history[-1].type in TERMINAL_EVENT_TYPES:
                        return
                if more:
                    continue
                subscription.knows(cursor)
                while batch := await subscription.next():
                    new = [event for event in batch if event.seq > cursor]
                    if new and new[0].seq > cursor + 1:
                        break  # one was missed: history has it
                    if new:
                        self._metrics.delivered(new, time.time())
                        yield agent_pb2.WatchRunResponse(events=new)
                        cursor = new[-1].seq
                        if new[-1].type in TERMINAL_EVENT_TYPES:
                            return

    async def CancelRun(
        self, request: agent_pb2.CancelRunRequest, context: Any
    ) -> agent_pb2.CancelRunResponse:
        org_id = caller().require_org()
        reason = request.reason or "cancelled on request"
        run = await self.cancel(request.run_id, org_id, reason)
        return agent_pb2.CancelRunResponse(run=run or await self._require_run(request.run_id))

    async def cancel(self, run_id: str, org_id: str, reason: str) -> run_pb2.Run | None:
        """Cancel a run, or ask its worker to; return None if it has ended or isn't there."""
        row = await self._runs.cancel(run_id, org_id, reason)
        if row is None:
            return None
        run = run_from_row(row)
        if run.status == run_pb2.RUN_STATUS_RUNNING:
            self._dispatcher.cancel(run.worker_id, run.id, row["epoch"])
            self._wakeups.cancel_requested(run.worker_id, run.id, row["epoch"])
        else:
            self._metrics.ended("cancelled")
            self._announce(run.id, ())
            if run.turn:
                self.announce_queued()
        return run

    async def RespondToRun(
        self, request: agent_pb2.RespondToRunRequest, context: Any
    ) -> agent_pb2.RespondToRunResponse:
        identity = caller()
        if len(request.text) > 100_000:
            raise InvalidInputError(
                "the answer is too long",
                violations=[Violation("text", "at most 100,000 characters")],
            )
        answer: dict[str, object] = {"text": request.text}
        if request.HasField("approve"):
            answer["approve"] = request.approve
        question = request.question_seq
        row = await self._runs.respond(request.run_id, identity, answer, question)
        if row is None:
            run = await self._require_run(request.run_id)
            if await self._runs.was_answered_so(run.id, identity, answer, question):
                return agent_pb2.RespondToRunResponse(run=run)
            raise StateError(
                f"the run isn't waiting for an answer{' to that' if question else ''}",
                reason="RUN_NOT_WAITING",
            )
        self._announce(request.run_id, ())
        self.announce_queued()
        return agent_pb2.RespondToRunResponse(run=run_from_row(row))

    # --------------------------------------------------------------------------

    def on_wakeup(self, wakeup: Wakeup) -> None:
        """Act on what another replica did."""
        self._follower.changed(wakeup.runs)
        for worker_id, run, epoch in wakeup.cancels:
            self._dispatcher.cancel(worker_id, run, epoch)
        if wakeup.queued:
            self._dispatcher.run_queued()

    async def expire(self) -> None:
        """Take runs from silent workers, and end those that nobody answered."""
        for run, status in await self._runs.take_back_expired():
            log.warning("its lease has expired", run_id=run, status=status)
            self._metrics.recovered("lease_expired")
            self.run_moved(run, status)
        for run, status in await self._runs.expire_waiting():
            log.warning("nobody answered in time", run_id=run, status=status)
            self.run_moved(run, status)

    def run_moved(self, run: str, status: str) -> None:
        """Tell watchers and dispatchers what was done to a run."""
        self._metrics.ended(status)
        self._announce(run, ())
        if status != "running":
            # It is in the queue, or its session's next one may start.
            self.announce_queued()

    def announce_queued(self) -> None:
        """Have dispatchers everywhere look for runs that may start now."""
        self._dispatcher.run_queued()
        self._wakeups.run_queued()

    def _announce(self, run: str, events: Any) -> None:
        self._hub.publish(run, events)
        self._wakeups.run_changed(run)

    async def _require_run(self, run: str) -> run_pb2.Run:
        found = await self._runs.get(run, caller().require_org())
        if found is None:
            raise _no_run(run)
        return found


async def _next_end(subscription: Subscription, end: float) -> None:
    """Return when the run may have ended: at a terminal event, after a miss, at `end`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(end - time.monotonic()):
            while events := await subscription.next():
                if events[-1].type in TERMINAL_EVENT_TYPES:
                    return


def _wanted(request: run_store_pb2.BatchListRunEventsRequest) -> list[tuple[UUID, str | None]]:
    """Return the runs whose events are asked for, each with a task or with None for all."""
    if not request.tasks:
        return [(run, None) for run in batch_of_ids(request.run_ids, "run_ids")]
    check_batch(request.tasks, "tasks")
    return [(run, of.task) for of in request.tasks for run in batch_of_ids([of.run_id], "tasks")]


def _no_run(run: str) -> NotFoundError:
    return NotFoundError(f"there is no run {run[:64]!r}")
