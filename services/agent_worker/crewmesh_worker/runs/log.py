"""A run's events on their way to the store.

Each run under execution has a RunLog, which numbers and queues its events. One
LogWriter sends what all of them have queued, in few calls. What the store hasn't
acknowledged is kept and sent again as it was; the numbers make that harmless.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from crewmesh.common import tracing
from crewmesh.common.errors import CrewmeshError, InvalidInputError, StateError
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import IdentitySigner
from crewmesh.v1 import memory_pb2, run_pb2, run_store_pb2, run_store_pb2_grpc
from crewmesh_worker.metrics import WorkerMetrics
from crewmesh_worker.runs.trace import AttemptTrace
from crewmesh_worker.sessions.memory import merged

log = structlog.get_logger(__name__)

# What of one run may wait before its runner is made to wait.
_MAX_PENDING: Final = 1_000
_MAX_PENDING_BYTES: Final = 4 * 1024 * 1024
# Each batch ends with what passes its bound, so all of a call stay well within what one
# message may have.
_MAX_EVENTS_PER_APPEND: Final = 200
_MAX_BYTES_PER_APPEND: Final = 256 * 1024
_MAX_APPENDS_PER_CALL: Final = 64
_MAX_BYTES_PER_CALL: Final = 4 * 1024 * 1024
# Events that nobody waits for are held this long, so that they share a transaction.
_LINGER_SECONDS: Final = 0.02
_CALL_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.25


@dataclass(frozen=True)
class _Entry:
    event: run_pb2.RunEvent
    checkpoints: tuple[run_store_pb2.TaskCheckpoint, ...]
    size: int
    call: run_store_pb2.ModelCall | None
    memories: tuple[memory_pb2.MemoryChanges, ...]


class RunLog:
    """The queue of one run's events, in order."""

    def __init__(self, lease: run_store_pb2.Lease, writer: LogWriter) -> None:
        tracer = tracing.tracer()
        self.trace = AttemptTrace(lease, tracer) if tracer is not None else None
        self.run_id = lease.run.id
        self.epoch = lease.epoch
        self._next_seq = lease.next_seq
        self._pending: deque[_Entry] = deque()
        self._pending_bytes = 0
        # What of them was sent and isn't acknowledged. It may be stored though nobody has said
        # so, therefore it is only ever sent again as it was.
        self._sent: run_store_pb2.Append | None = None
        self._checkpoints: list[run_store_pb2.TaskCheckpoint] = []
        self._memories: list[memory_pb2.MemoryChanges] = []
        self._transition: run_store_pb2.Transition | None = None
        self._writer = writer
        self._room = asyncio.Event()
        self._room.set()
        # Set once nothing more will be stored: all is, or the lease is lost.
        self.closed = asyncio.Event()
        self.lost = asyncio.Event()

    async def add(
        self, event: run_pb2.RunEvent, call: run_store_pb2.ModelCall | None = None
    ) -> None:
        """Queue an event, with the model call that it tells of; wait while too many are queued."""
        await self._room.wait()
        self._queue(event, call)
        if len(self._pending) >= _MAX_PENDING or self._pending_bytes >= _MAX_PENDING_BYTES:
            self._room.clear()
        self._writer.changed(self)

    def checkpoint(self, checkpoint: run_store_pb2.TaskCheckpoint) -> None:
        """Keep a task's output; it is stored in one transaction with the next event."""
        self._checkpoints.append(checkpoint)

    def remember(self, changes: memory_pb2.MemoryChanges) -> None:
        """Keep what a task changed in its crew's memory; stored as a checkpoint is."""
        self._memories.append(changes)

    async def end(self, event: run_pb2.RunEvent, transition: run_store_pb2.Transition) -> None:
        """Queue the last event with the change of state; return once they are stored, or lost."""
        if transition.status != run_pb2.RUN_STATUS_WAITING:
            # Of a task whose end was not heard of any more: it isn't done without that event.
            self._checkpoints.clear()
            self._memories.clear()
        self._queue(event)
        self._transition = transition
        self._writer.changed(self, urgent=True)
        await self.closed.wait()

    async def keep_effect(self, effect: run_store_pb2.Effect) -> None:
        """Store a call that must not happen twice; raise CrewmeshError if it isn't stored.

        When the lease is another's by now, the log is abandoned.
        """
        try:
            await self._writer.record_effect(self.run_id, self.epoch, effect)
        except StateError:
            self.abandon()
            raise

    def _queue(self, event: run_pb2.RunEvent, call: run_store_pb2.ModelCall | None = None) -> None:
        if self.trace is not None:
            self.trace.take(event)
        checkpoints, memories = tuple(self._checkpoints), tuple(self._memories)
        size = sum(message.ByteSize() for message in (event, *checkpoints, *memories))
        self._pending.append(_Entry(event, checkpoints, size, call, memories))
        self._pending_bytes += size
        self._checkpoints.clear()
        self._memories.clear()

    def abandon(self) -> None:
        """Send nothing more: the run is another worker's."""
        if self.trace is not None and not self.closed.is_set():
            self.trace.abandon()
        self.lost.set()
        self.closed.set()
        self._room.set()

    @property
    def has_more(self) -> bool:
        """Tell whether anything is to be sent."""
        return bool(self._pending) and not self.lost.is_set()

    def next_append(self) -> run_store_pb2.Append | None:
        """Return what is to be sent now, the same until it is acknowledged; it stays queued."""
        if not self.has_more:
            return None
        if self._sent is None:
            self._sent = self._make_append()
        return self._sent

    def _make_append(self) -> run_store_pb2.Append:
        append = run_store_pb2.Append(
            run_id=self.run_id,
            epoch=self.epoch,
            first_seq=self._next_seq,
        )
        size = 0
        memories: list[memory_pb2.MemoryChanges] = []
        for place, entry in enumerate(itertools.islice(self._pending, _MAX_EVENTS_PER_APPEND)):
            append.events.append(entry.event)
            append.checkpoints.extend(entry.checkpoints)
            memories.extend(entry.memories)
            if entry.call is not None:
                append.model_calls.append(entry.call)
                append.model_calls[-1].event = place
            size += entry.size
            if size >= _MAX_BYTES_PER_APPEND:
                break
        if (changes := merged(memories)) is not None:
            append.memories.CopyFrom(changes)
        if self._transition is not None and len(append.events) == len(self._pending):
            append.transition.CopyFrom(self._transition)
        return append

    def acknowledge(self, append: run_store_pb2.Append) -> None:
        """Forget what is stored now."""
        self._sent = None
        for _ in append.events:
            self._pending_bytes -= self._pending.popleft().size
        self._next_seq += len(append.events)
        if append.HasField("transition"):
            self.closed.set()
        self._room.set()


class LogWriter:
    """Sends the events of all runs to the store, many in a call."""

    def __init__(
        self,
        store: run_store_pb2_grpc.RunStoreServiceAsyncStub,
        signer: IdentitySigner,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._signer = signer
        self._waiting: dict[RunLog, None] = {}
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()

    def open(self, lease: run_store_pb2.Lease) -> RunLog:
        """Begin the log of a run's attempt."""
        return RunLog(lease, self)

    def changed(self, run_log: RunLog, *, urgent: bool = False) -> None:
        """Have the log's events sent soon; at once if urgent."""
        self._waiting[run_log] = None
        self._changed.set()
        if urgent:
            self._urgent.set()

    async def record_effect(self, run_id: str, epoch: int, effect: run_store_pb2.Effect) -> None:
        """Store a call that must not happen twice, under the run's lease."""
        request = run_store_pb2.RecordEffectRequest(run_id=run_id, epoch=epoch, effect=effect)
        with rpc_errors():
            await self._store.RecordEffect(
                request, metadata=self._signer.metadata(), timeout=_CALL_SECONDS
            )

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._changed.wait()
            await self._linger()
            self._changed.clear()
            self._urgent.clear()
            batch = self._take_batch()
            if not batch:
                continue
            try:
                results = await self._send([append for _, append in batch])
            except CrewmeshError as error:
                await self._keep(batch, error)
                continue
            for (run_log, append), result in zip(batch, results, strict=True):
                self._settle(run_log, append, result)

    async def _linger(self) -> None:
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._urgent.wait()
        except TimeoutError:
            pass

    def _take_batch(self) -> list[tuple[RunLog, run_store_pb2.Append]]:
        batch = []
        size = 0
        for run_log in list(self._waiting)[:_MAX_APPENDS_PER_CALL]:
            if size >= _MAX_BYTES_PER_CALL:
                break
            del self._waiting[run_log]
            append = run_log.next_append()
            if append is not None:
                batch.append((run_log, append))
                size += append.ByteSize()
        if self._waiting:
            self._changed.set()
        return batch

    async def _send(
        self, appends: Iterable[run_store_pb2.Append]
    ) -> Iterable[run_store_pb2.AppendResult]:
        with rpc_errors():
            response = await self._store.AppendEvents(
                run_store_pb2.AppendEventsRequest(appends=appends),
                metadata=self._signer.metadata(),
                timeout=_CALL_SECONDS,
            )
        return response.results

    async def _keep(
        self, batch: list[tuple[RunLog, run_store_pb2.Append]], error: CrewmeshError
    ) -> None:
        """Keep the batch for later; take apart one that the store can't take as it is."""
        log.warning("events wait for the store", runs=len(batch), reason=error.message)
        if not isinstance(error, InvalidInputError):
            for run_log, _ in batch:
                self.changed(run_log)
            await asyncio.sleep(_RETRY_SECONDS)
        elif len(batch) > 1:
            for run_log, append in batch:
                await self._send_alone(run_log, append)
        else:
            # It will never be stored. Better to lose this attempt than to block all others.
            batch[0][0].abandon()

    async def _send_alone(self, run_log: RunLog, append: run_store_pb2.Append) -> None:
        try:
            (result,) = await self._send([append])
        except CrewmeshError as error:
            await self._keep([(run_log, append)], error)
            return
        self._settle(run_log, append, result)

    def _settle(
        self,
        run_log: RunLog,
        append: run_store_pb2.Append,
        result: run_store_pb2.AppendResult,
    ) -> None:
        if result.outcome == run_store_pb2.APPEND_OUTCOME_STORED:
            if self._metrics is not None:
                self._metrics.acknowledged(append)
            run_log.acknowledge(append)
            if run_log.has_more:
                self.changed(run_log, urgent=True)
            return
        outcome = run_store_pb2.AppendOutcome.Name(result.outcome)
        log.warning("the store refused events", run_id=run_log.run_id, outcome=outcome)
        run_log.abandon()
