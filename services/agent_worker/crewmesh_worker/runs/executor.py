"""Carries out this worker's leases, keeps them, and lets go of those that it loses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh.common.identity import Identity
from crewmesh.v1 import run_store_pb2
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.files import WorkerFiles
from crewmesh_worker.runner.pool import RunnerPool
from crewmesh_worker.runs.execution import Execution
from crewmesh_worker.runs.log import LogWriter
from crewmesh_worker.runs.slots import Slots

log = structlog.get_logger(__name__)


class Held:
    """A lease in hand: its execution, and until when it is surely ours."""

    def __init__(self, execution: Execution, good_until: float) -> None:
        self.execution = execution
        # By time.monotonic().
        self.good_until = good_until


class Executor:
    """All runs that this worker executes now."""

    def __init__(
        self,
        slots: Slots,
        catalogue: Catalogue,
        pool: RunnerPool,
        writer: LogWriter,
        files: WorkerFiles,
        model: str,
        environment: dict[str, str],
        input_seconds: int,
    ) -> None:
        self._input_seconds = input_seconds
        self._slots = slots
        self._catalogue = catalogue
        self._pool = pool
        self._writer = writer
        self._files = files
        self._model = model
        self._environment = environment
        self._held: dict[str, Held] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, lease: run_store_pb2.Lease, asked_at: float) -> None:
        """Begin a leased run in a slot that its caller has taken.

        `asked_at` (time.monotonic()) is when the lease was asked for, or came: it is good
        from then on for its ttl.
        """
        good_until = asked_at + lease.ttl.ToTimedelta().total_seconds()
        task = asyncio.create_task(self._execute(lease, good_until))
        self._tasks[lease.run.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(lease.run.id))

    async def wait_for(self, run_id: str, seconds: float) -> None:
        """Return when this worker is done with the run, or the time is up."""
        if (task := self._tasks.get(run_id)) is not None:
            await asyncio.wait([task], timeout=seconds)

    async def _execute(self, lease: run_store_pb2.Lease, good_until: float) -> None:
        run = lease.run
        structlog.contextvars.bind_contextvars(run_id=run.id, org_id=run.org_id)
        try:
            identity = Identity("agent_worker", run.org_id, run.created_by)
            definition = self._catalogue.get(run.crew)
            execution = Execution(
                lease, definition, identity, self._writer.open(lease), self._input_seconds
            )
            self._held[run.id] = Held(execution, good_until)
            started = time.monotonic()
            how = await execution.run(self._pool, self._files, self._model, self._environment)
            seconds = round(time.monotonic() - started, 3)
            log.info("attempt ended", crew=run.crew, attempt=run.attempt, how=how, seconds=seconds)
        except CrewmeshError as error:
            log.error("a lease can't be carried out; it will expire", reason=error.message)
        finally:
            self._held.pop(run.id, None)
            self._slots.give_back()

    def cancel(self, run_id: str, epoch: int) -> None:
        """Cancel a run, if it is in our hands under that lease."""
        self._with(run_id, epoch, Execution.cancel)

    def lose(self, run_id: str, epoch: int) -> None:
        """Let go of a run that is another's now."""
        self._with(run_id, epoch, Execution.lose)

    def _with(self, run_id: str, epoch: int, act: Callable[[Execution], None]) -> None:
        held = self._held.get(run_id)
        if held is not None and held.execution.lease.epoch == epoch:
            act(held.execution)

    def leases(self) -> list[run_store_pb2.LeaseRef]:
        """Return the leases in hand."""
        return [
            run_store_pb2.LeaseRef(run_id=run_id, epoch=held.execution.lease.epoch)
            for run_id, held in self._held.items()
        ]

    def renewed(self, leases: list[run_store_pb2.LeaseRef], good_until: float) -> None:
        """Take note that leases were prolonged."""
        for lease in leases:
            held = self._held.get(lease.run_id)
            if held is not None and held.execution.lease.epoch == lease.epoch:
                held.good_until = good_until

    def lose_overdue(self, margin_seconds: float) -> None:
        """Stop the runs whose lease ends within the margin, before another worker gets them."""
        now = time.monotonic()
        for run_id, held in self._held.items():
            if now > held.good_until - margin_seconds:
                log.warning("can't renew a lease in time; stopping its run", run_id=run_id)
                held.execution.lose()

    async def drain(self, seconds: float) -> None:
        """Let runs finish for a while, then hand the others back to the queue."""
        if self._tasks and seconds > 0:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        for held in list(self._held.values()):
            held.execution.hand_back()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
