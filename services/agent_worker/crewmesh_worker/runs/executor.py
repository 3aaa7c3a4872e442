"""Carries out this worker's leases, keeps them, and lets go of those that it loses."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import budget_pb2_grpc, run_store_pb2
from crewmesh_worker.crews.library import CrewLibrary
from crewmesh_worker.files import WorkerFiles
from crewmesh_worker.local_model.process import LocalModel
from crewmesh_worker.metrics import WorkerMetrics
from crewmesh_worker.runs.budget import RunBudget
from crewmesh_worker.runs.execution import Execution
from crewmesh_worker.runs.log import LogWriter
from crewmesh_worker.runs.prices import PriceList
from crewmesh_worker.runs.runners import Runners, RunSettings
from crewmesh_worker.runs.slots import Slots
from crewmesh_worker.runs.usage import UsageMeter
from crewmesh_worker.sessions.memory import Memories

log = structlog.get_logger(__name__)


class Executor:
    """All runs that this worker executes now."""

    def __init__(
        self,
        slots: Slots,
        crews: CrewLibrary,
        runners: Runners,
        writer: LogWriter,
        files: WorkerFiles,
        budgets: budget_pb2_grpc.BudgetServiceAsyncStub,
        signer: IdentitySigner,
        prices: PriceList,
        settings: RunSettings,
        local_model: LocalModel,
        input_seconds: int,
        history_tokens: int,
        memories: Memories,
        metrics: WorkerMetrics,
    ) -> None:
        self._metrics = metrics
        metrics.leases.set_function(lambda: len(self._held))
        self._memories = memories
        self._input_seconds = input_seconds
        self._history_tokens = history_tokens
        self._slots = slots
        self._crews = crews
        self._runners = runners
        self._writer = writer
        self._files = files
        self._budgets = budgets
        self._signer = signer
        self._prices = prices
        self._settings = settings
        self._local_model = local_model
        self._handing_back = False
        # By run and epoch: a run may come back while its last attempt here still ends.
        self._held: dict[tuple[str, int], Execution] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}

    def start(self, lease: run_store_pb2.Lease, asked_at: float) -> None:
        """Begin a leased run in a slot that its caller has taken.

        `asked_at` (clock.now()) is when it was asked for: it is good from then on for its ttl.
        """
        good_until = asked_at + lease.ttl.ToTimedelta().total_seconds()
        key = lease.run.id, lease.epoch
        self._tasks[key] = task = asyncio.create_task(self._execute(lease, good_until))
        task.add_done_callback(lambda _: self._tasks.pop(key))

    async def wait_for(self, run_id: str, seconds: float) -> None:
        """Return when this worker is done with the run, or the time is up."""
        if tasks := [task for (run, _), task in self._tasks.items() if run == run_id]:
            await asyncio.wait(tasks, timeout=seconds)

    async def _execute(self, lease: run_store_pb2.Lease, good_until: float) -> None:
        run = lease.run
        structlog.contextvars.bind_contextvars(run_id=run.id, org_id=run.org_id)
        try:
            identity = Identity.of_run("agent_worker", run.org_id, run.created_by)
            execution = self._held[run.id, lease.epoch] = Execution(
                lease, self._crews, identity, self._writer.open(lease),
                UsageMeter(run.usage, self._prices),
                RunBudget(lease, self._budgets, self._signer, self._prices),
                self._input_seconds, self._history_tokens, self._memories, self._local_model,
                good_until,
            )  # fmt: skip
            if self._handing_back:
                execution.hand_back()
            started = time.monotonic()
            how = await execution.run(self._runners, self._files, self._settings)
            seconds = round(time.monotonic() - started, 3)
            self._metrics.attempt_ended(how, seconds)
            log.info("attempt ended", crew=run.crew, attempt=run.attempt, how=how, seconds=seconds)
        except CrewmeshError as error:
            log.error("a lease can't be carried out; it will expire", reason=error.message)
        finally:
            self._held.pop((run.id, lease.epoch), None)
            self._slots.give_back()

    def cancel(self, run_id: str, epoch: int) -> None:
        """Cancel a run, if it is in our hands under that lease."""
        self._with(run_id, epoch, Execution.cancel)

    def lose(self, run_id: str, epoch: int) -> None:
        """Let go of a run that is another's now."""
        self._with(run_id, epoch, Execution.lose)

    def _with(self, run_id: str, epoch: int, act: Callable[[Execution], None]) -> None:
        if (execution := self._held.get((run_id, epoch))) is not None:
            act(execution)

    def leases(self) -> list[run_store_pb2.LeaseRef]:
        """Return the leases in hand that are to be kept."""
        return [
            run_store_pb2.LeaseRef(run_id=run, epoch=epoch)
            for (run, epoch), execution in self._held.items()
            if not execution.lost
        ]

    def renewed(self, leases: list[run_store_pb2.LeaseRef], good_until: float) -> None:
        """Take note that leases were prolonged."""
        for lease in leases:
            if (execution := self._held.get((lease.run_id, lease.epoch))) is not None:
                execution.good_until = good_until

    def lose_overdue(self) -> None:
        """Stop the runs whose leases can't be renewed in time; called a few times a second."""
        for execution in self._held.values():
            execution.lose_if_overdue()

    async def drain(self, seconds: float) -> None:
        """Let runs finish for a while, then hand the others back to the queue.

        A run that was being started when the slots were closed holds one, too.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._slots.empty.wait()
        self._handing_back = True
        for execution in list(self._held.values()):
            execution.hand_back()
        await self._slots.empty.wait()
