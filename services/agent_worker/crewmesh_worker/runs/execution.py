"""One attempt of one run: a runner does it, the log records it."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from uuid6 import uuid7

from crewmesh.common.errors import (
    CrewmeshError,
    DeadlineError,
    ForbiddenError,
    StateError,
    UnavailableError,
)
from crewmesh.common.identity import Identity
from crewmesh.common.policy import parse_policy
from crewmesh.v1 import run_pb2, run_store_pb2, runner_pb2
from crewmesh_worker import clock
from crewmesh_worker.crews.definition import CrewDefinition
from crewmesh_worker.crews.inputs import dataset_inputs
from crewmesh_worker.crews.library import CrewLibrary
from crewmesh_worker.files import WorkerFiles
from crewmesh_worker.local_model.process import LocalModel
from crewmesh_worker.projects.project import Project
from crewmesh_worker.redaction import Redactor
from crewmesh_worker.runner.pool import Runner, RunnerDiedError
from crewmesh_worker.runner.text import storable
from crewmesh_worker.runs import outcome as outcomes
from crewmesh_worker.runs.budget import RunBudget
from crewmesh_worker.runs.choice import ModelChoice
from crewmesh_worker.runs.chunks import RedactedEvents
from crewmesh_worker.runs.events import from_runner, make_event
from crewmesh_worker.runs.log import RunLog
from crewmesh_worker.runs.outcome import Outcome
from crewmesh_worker.runs.requests import make_project, make_request
from crewmesh_worker.runs.runners import Runners, RunSettings
from crewmesh_worker.runs.usage import UsageMeter
from crewmesh_worker.sessions.history import fit_history
from crewmesh_worker.sessions.memory import Memories, checked

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

_RETRY_SECONDS: Final = 0.25
# How long files of a run wait for the store; what it has done waits as long as its lease holds.
_FILE_SECONDS: Final = 60.0
# Long enough to kill a runner before the lease can be another worker's, if the lease isn't
# very short itself.
_MARGIN_SECONDS: Final = 1.0
_MARGIN_OF_LEASE: Final = 0.25


class Execution:
    """Carries out a lease. `cancel`, `lose` and `hand_back` end it early."""

    def __init__(
        self,
        lease: run_store_pb2.Lease,
        crews: CrewLibrary,
        identity: Identity,
        run_log: RunLog,
        meter: UsageMeter,
        budget: RunBudget,
        input_seconds: int,
        history_tokens: int,
        memories: Memories,
        local_model: LocalModel,
        good_until: float,
    ) -> None:
        self._meter = meter
        self._budget = budget
        self._redactor = Redactor(lease.secrets.values())
        self._events = RedactedEvents(self._redactor)
        self._memories = memories
        self._local_model = local_model
        self._input_seconds = input_seconds
        self._history_tokens = history_tokens
        self.lease = lease
        # Until then, by clock.now(), the lease is surely ours. Renewals move it.
        self.good_until = good_until
        ttl = lease.ttl.ToTimedelta().total_seconds()
        self._margin = min(_MARGIN_SECONDS, ttl * _MARGIN_OF_LEASE)
        self._crews = crews
        self._identity = identity
        self._log = run_log
        self._stop_reason: str | None = None
        self._stop = asyncio.Event()
        self._started = time.monotonic()

    def cancel(self) -> None:
        """End the run as cancelled."""
        self._stop_for("cancelled")

    def lose(self) -> None:
        """Stop and write nothing: the lease is, or may soon be, another worker's."""
        self._log.abandon()
        self._stop_for("lost")

    @property
    def lost(self) -> bool:
        """Tell whether the lease is given up, though its runner may not have ended yet."""
        return self._log.lost.is_set()

    def lose_if_overdue(self) -> None:
        """Let go of the run when its lease ends soon: before another worker gets it."""
        if clock.now() > self.good_until - self._margin and not self.lost:
            log.warning("a lease runs out; stopping its run", run_id=self.lease.run.id)
            self.lose()

    def hand_back(self) -> None:
        """Stop and return the run to the queue."""
        self._stop_for("drained")

    def _stop_for(self, reason: str) -> None:
        self._stop_reason = self._stop_reason or reason
        self._stop.set()

    async def run(self, runners: Runners, files: WorkerFiles, settings: RunSettings) -> str:
        """Run the crew to its end, record that end, and return its event's type."""
        run = self.lease.run
        try:
            choice = await self._choose(settings)
            affinity = f"{run.org_id}/{run.crew}/{run.crew_version}"
            runner = await self._unless_stopped(runners.acquire(choice.definition, affinity))
        except StateError as error:
            # Another worker may be able to: one that is newer, or older.
            return await self._record(self._retry_or_fail("crew_unavailable", error.message))
        except ForbiddenError as error:
            denied = run_pb2.RunError(code="policy_denied", message=error.message)
            return await self._record(outcomes.failed(denied))
        except CrewmeshError as error:
            return await self._record(self._retry_or_fail("worker_error", error.message))
        if runner is None:
            return await self._record(self._outcome_of_stop())
        try:
            request = await self._request(runner, files, choice, settings.environment)
            await self._tell_of_resumption()
            outcome = await self._drive(runner, request, files)
        except CrewmeshError as error:
            outcome = self._retry_or_fail("worker_error", error.message)
        # The runner cleans up while the store commits.
        how, _ = await asyncio.gather(self._record(outcome), runner.release())
        return how

    async def _unless_stopped(self, acquiring: Coroutine[Any, Any, Runner]) -> Runner | None:
        """Wait for a runner, which a project's first may take seconds for; None if stopped."""
        waiting = asyncio.create_task(acquiring)
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        await asyncio.wait({waiting})
        if not waiting.cancelled() and waiting.exception() is None:
            await waiting.result().release()
        return None

    async def _choose(self, settings: RunSettings) -> ModelChoice:
        """Return the run's version of its crew with the models that it uses.

        Raises StateError where this worker can't have that version, ForbiddenError for what the
        tenant's policy has forbidden meanwhile.
        """
        run = self.lease.run
        find = partial(self._crews.get_pinned, run.crew, run.crew_version, self._identity)
        crew = await self._insist(find, _FILE_SECONDS)
        policy = parse_policy(self.lease.policy_json)
        choice = settings.choose(crew.runnable, run.models, policy.models.default)
        if faults := policy.faults(choice.all, choice.tools):
            raise ForbiddenError("; ".join(fault.message for fault in faults))
        return choice

    async def _tell_of_resumption(self) -> None:
        if self.lease.checkpoints:
            finished = sum(not checkpoint.waiting for checkpoint in self.lease.checkpoints)
            payload = {"attempt": self.lease.run.attempt, "finished_tasks": finished}
            await self._log.add(make_event("run.resumed", payload))

    async def _record(self, outcome: Outcome) -> str:
        if self.lost:
            return "lost"
        event = make_event(outcome.event_type, outcome.payload, outcome.task, outcome.agent)
        await self._log.end(event, outcome.transition)
        return outcome.event_type

    async def _request(
        self,
        runner: Runner,
        files: WorkerFiles,
        choice: ModelChoice,
        environment: dict[str, str],
    ) -> runner_pb2.Execute:
        inputs = json.loads(self.lease.run.inputs_json)
        definition = choice.definition
        talks = isinstance(definition, CrewDefinition) and definition.history_input
        if self.lease.run.turn and talks:
            inputs[talks] = fit_history(
                self.lease.history, self.lease.earlier_messages, self._history_tokens
            )
        paths = {}
        for name in dataset_inputs(definition):
            if name in inputs:
                fetch = partial(files.fetch_dataset, inputs[name], self._identity)
                paths[name] = str(await self._insist(fetch, _FILE_SECONDS))
        request = make_request(
            self.lease, choice, json.dumps(inputs), runner.work_dir, environment, paths
        )
        # Which models a project calls isn't known yet: it may come to call the default ones.
        reachable = (*choice.all, *choice.models)
        request.environment.update(await self._local_model.environment(reachable))
        if self._log.trace is not None:
            # By the convention for processes: for tools to pass on with what they ask of others.
            request.environment["TRACEPARENT"] = self._log.trace.traceparent
        request.cache_dir = str(files.tools_dir(self._identity))
        if isinstance(definition, Project):
            made = await self._made_files(runner, files)
            project = await asyncio.to_thread(
                make_project, definition, made, choice, self.lease.secrets
            )
            request.project.CopyFrom(project)
        elif definition.crew.memory:
            read = partial(self._memories.read, self.lease)
            request.memories.extend(await self._insist(read, _FILE_SECONDS))
        return request

    async def _made_files(self, runner: Runner, files: WorkerFiles) -> Path | None:
        """Fetch what earlier attempts made: what is finished isn't done again."""
        if not self.lease.checkpoints:
            return None
        directory = runner.work_dir / "made"
        fetch = partial(files.fetch_artifacts, self.lease.run.id, self._identity, directory)
        await self._insist(fetch, _FILE_SECONDS)
        return directory

    async def _drive(
        self, runner: Runner, request: runner_pb2.Execute, files: WorkerFiles
    ) -> Outcome:
        """Follow the runner until it ends, is stopped, or runs out of time."""
        # The lease may have come late, or a runner.
        self.lose_if_overdue()
        if self._stop.is_set():
            return self._outcome_of_stop()
        # And should this process stand still now, the runner sees that itself.
        request.start_before_us = int((self.good_until - self._margin) * 1_000_000)
        following = asyncio.create_task(self._follow(runner, request, files))
        stopping = asyncio.create_task(self._stop.wait())
        lost = asyncio.create_task(self._log.lost.wait())
        try:
            await asyncio.wait(
                {following, stopping, lost},
                timeout=self.lease.run.timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if following.done():
                return following.result()
        finally:
            for task in (following, stopping, lost):
                task.cancel()
        await runner.kill()
        await asyncio.gather(following, return_exceptions=True)
        return self._outcome_of_stop()

    async def _follow(
        self, runner: Runner, request: runner_pb2.Execute, files: WorkerFiles
    ) -> Outcome:
        """Pass on what the runner says until it says how the crew ended."""
        try:
            async for message in runner.execute(request):
                kind = message.WhichOneof("message")
                if kind == "event":
                    await self._log_events(self._events.take(message.event))
                elif kind == "checkpoint":
                    self._log.checkpoint(message.checkpoint)
                elif kind == "memories":
                    self._log.remember(checked(message.memories))
                elif kind == "artifact":
                    await self._keep_artifact(runner, message.artifact, files)
                elif kind == "effect":
                    await self._keep_effect(runner, message.effect)
                elif kind == "call_request":
                    await self._answer_call(runner, message.call_request)
                elif kind == "call_settlement":
                    await self._budget.settle(message.call_settlement)
                else:
                    await self._log_events(self._events.rest())
                    return self._ended(message)
        except RunnerDiedError as error:
            await self._log_events(self._events.rest())
            return self._retry_or_fail("runner_died", str(error))
        raise AssertionError("a runner's messages end with finished, failed or waiting")

    def _ended(self, message: runner_pb2.FromRunner) -> Outcome:
        redact = self._redactor.redact
        if message.HasField("waiting"):
            asked = message.waiting
            payload = json.loads(redact(asked.payload_json))
            return outcomes.waiting(asked, payload, self._input_seconds)
        if message.HasField("finished"):
            finished = message.finished
            finished.output = redact(finished.output)
            finished.output_json = redact(finished.output_json)
            return outcomes.succeeded(finished, self._meter.total(), self._started)
        error = message.failed.error
        error.message = redact(error.message)
        return outcomes.failed(error, redact(message.failed.output_partial))

    async def _log_events(self, events: Iterable[tuple[runner_pb2.RunnerEvent, str]]) -> None:
        """Log events, each with its payload without secrets."""
        for event, payload_json in events:
            call = None
            if event.type == "llm.completed":
                payload_json, call = await self._meter.meter(payload_json)
            await self._log.add(from_runner(event, payload_json), call)

    async def _answer_call(self, runner: Runner, call: runner_pb2.CallRequest) -> None:
        """Tell the runner whether it may call the model; it waits."""
        try:
            verdict, refusal = await self._budget.request(call)
        except StateError:
            self._log.abandon()
            raise
        if refusal is not None and refusal.event is not None:
            await self._log.add(make_event("budget.exceeded", refusal.event))
        await runner.answer(runner_pb2.ToRunner(call_verdict=verdict))

    async def _keep_artifact(
        self, runner: Runner, artifact: runner_pb2.RunnerArtifact, files: WorkerFiles
    ) -> None:
        put = partial(
            files.put_artifact, runner.work_dir, artifact, str(uuid7()),
            self.lease.run.id, self.lease.epoch, self._identity,
        )  # fmt: skip
        stored = await self._insist(put, _FILE_SECONDS)
        payload = {
            "id": stored.id,
            "name": stored.name,
            "media_type": stored.media_type,
            "size_bytes": stored.size_bytes,
        }
        await self._log.add(make_event("artifact.created", payload, task=artifact.task))

    async def _keep_effect(self, runner: Runner, effect: run_store_pb2.Effect) -> None:
        """Have a call with side effects kept before the agent learns of its result."""
        effect.result = storable(effect.result)
        # The call was made, and must not be forgotten.
        await self._insist(partial(self._log.keep_effect, effect), math.inf)
        kept = runner_pb2.EffectKept(key=effect.key)
        await runner.answer(runner_pb2.ToRunner(effect_kept=kept))

    async def _insist(self, ask: Callable[[], Awaitable[Answer]], seconds: float) -> Answer:
        """Ask the store until it answers, the run is stopped, or the time is up.

        Whatever is asked may be asked twice.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                return await ask()
            except (UnavailableError, DeadlineError) as error:
                if self._stop.is_set() or time.monotonic() > end:
                    raise
                log.warning("a run waits for the store", reason=error.message)
            await asyncio.sleep(_RETRY_SECONDS)

    def _retry_or_fail(self, code: str, message: str) -> Outcome:
        if self._stop_reason is not None:
            return self._outcome_of_stop()
        return outcomes.retry_or_fail(self.lease.run, code, self._redactor.redact(message))

    def _outcome_of_stop(self) -> Outcome:
        if self._stop_reason == "cancelled":
            return outcomes.cancelled()
        if self._stop_reason is not None or self.lost:
            return outcomes.queued({"reason": self._stop_reason or "lost"})
        return outcomes.timed_out(self.lease.run.timeout_seconds)
