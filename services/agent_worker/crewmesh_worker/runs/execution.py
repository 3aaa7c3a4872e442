"""One attempt of one run: a runner does it, the log records it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from crewmesh.common.errors import CrewmeshError, DeadlineError, UnavailableError
from crewmesh.common.identity import Identity
from crewmesh.v1 import run_pb2, run_store_pb2, runner_pb2
from crewmesh_worker.crews.definition import CrewDefinition, to_json
from crewmesh_worker.crews.inputs import dataset_inputs
from crewmesh_worker.files import WorkerFiles
from crewmesh_worker.projects.project import Project
from crewmesh_worker.runner.pool import Runner, RunnerDiedError
from crewmesh_worker.runs.log import RunLog
from crewmesh_worker.runs.runners import Runners, RunSettings

log = structlog.get_logger(__name__)

_RETRY_SECONDS: Final = 0.25
_MAX_PAYLOAD_BYTES: Final = 64 * 1024
# Long enough to kill a runner before the lease can be another worker's.
_MARGIN_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: the run's new state and the event that tells of it."""

    transition: run_store_pb2.Transition
    event_type: str
    payload: dict[str, Any]
    task: str = ""
    agent: str = ""


class Execution:
    """Carries out a lease. `cancel`, `lose` and `hand_back` end it early."""

    def __init__(
        self,
        lease: run_store_pb2.Lease,
        definition: CrewDefinition | Project,
        identity: Identity,
        run_log: RunLog,
        input_seconds: int,
        good_until: float,
    ) -> None:
        self._input_seconds = input_seconds
        self.lease = lease
        # Until then, by time.monotonic(), the lease is surely ours. Renewals move it.
        self.good_until = good_until
        self.definition = definition
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

    def lose_if_overdue(self) -> None:
        """Let go of the run when its lease ends soon: before another worker gets it."""
        overdue = time.monotonic() > self.good_until - _MARGIN_SECONDS
        if overdue and not self._log.lost.is_set():
            log.warning("can't renew a lease in time; stopping its run", run_id=self.lease.run.id)
            self.lose()

    def hand_back(self) -> None:
        """Stop and return the run to the queue."""
        self._stop_for("drained")

    def _stop_for(self, reason: str) -> None:
        self._stop_reason = self._stop_reason or reason
        self._stop.set()

    async def run(
        self,
        runners: Runners,
        files: WorkerFiles,
        settings: RunSettings,
    ) -> str:
        """Run the crew to its end, record that end, and return its event's type."""
        run = self.lease.run
        try:
            runner = await self._unless_stopped(
                runners.acquire(self.definition, f"{run.org_id}/{run.crew}/{run.crew_version}")
            )
        except CrewmeshError as error:
            return await self._record(self._retry_or_fail("worker_error", error.message))
        if runner is None:
            return await self._record(self._outcome_of_stop())
        try:
            request = await self._request(runner, files, settings)
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

    async def _tell_of_resumption(self) -> None:
        if self.lease.checkpoints:
            finished = sum(not checkpoint.waiting for checkpoint in self.lease.checkpoints)
            payload = {"attempt": self.lease.run.attempt, "finished_tasks": finished}
            await self._log.add(_event("run.resumed", payload))

    async def _record(self, outcome: Outcome) -> str:
        if self._log.lost.is_set():
            return "lost"
        event = _event(outcome.event_type, outcome.payload, outcome.task, outcome.agent)
        await self._log.end(event, outcome.transition)
        return outcome.event_type

    async def _request(
        self, runner: Runner, files: WorkerFiles, settings: RunSettings
    ) -> runner_pb2.Execute:
        inputs = json.loads(self.lease.run.inputs_json)
        paths = {
            name: str(await files.fetch_dataset(inputs[name], self._identity))
            for name in dataset_inputs(self.definition)
            if name in inputs
        }
        request = runner_pb2.Execute(
            run_id=self.lease.run.id,
            inputs_json=self.lease.run.inputs_json,
            work_dir=str(runner.work_dir),
            model=settings.model,
            environment=settings.environment,
            checkpoints=self.lease.checkpoints,
            effects=self.lease.effects,
            answer=self.lease.answer if self.lease.HasField("answer") else None,
            dataset_paths=paths,
        )
        if isinstance(self.definition, Project):
            request.project.CopyFrom(await self._project(runner, files, settings))
        else:
            request.definition_json = to_json(self.definition)
        return request

    async def _project(
        self, runner: Runner, files: WorkerFiles, settings: RunSettings
    ) -> runner_pb2.Project:
        project = self.definition
        assert isinstance(project, Project)
        made = ""
        if self.lease.checkpoints:
            # What is finished isn't done again, so its files have to be there.
            directory = runner.work_dir / "made"
            await files.fetch_artifacts(self.lease.run.id, self._identity, directory)
            made = str(directory)
        return runner_pb2.Project(
            snapshot_dir=str(project.snapshot),
            entry_json=json.dumps(project.entry),
            env_file=await asyncio.to_thread(project.read_env_file),
            made_dir=made,
            model=settings.project_model,
        )

    async def _drive(
        self, runner: Runner, request: runner_pb2.Execute, files: WorkerFiles
    ) -> Outcome:
        """Follow the runner until it ends, is stopped, or runs out of time."""
        # The lease may have come late, or a runner; or this process stood still meanwhile.
        self.lose_if_overdue()
        if self._stop.is_set():
            return self._outcome_of_stop()
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
                    await self._log.add(_from_runner(message.event))
                elif kind == "checkpoint":
                    self._log.checkpoint(message.checkpoint)
                elif kind == "artifact":
                    await self._keep_artifact(runner, message.artifact, files)
                elif kind == "effect":
                    await self._keep_effect(runner, message.effect)
                elif kind == "waiting":
                    return self._waiting(message.waiting)
                elif kind == "finished":
                    return self._succeeded(message.finished)
                elif kind == "failed":
                    return self._failed(message.failed.error, message.failed.usage)
        except RunnerDiedError as error:
            return self._retry_or_fail("runner_died", str(error))
        raise AssertionError("a runner's messages end with finished or failed")

    async def _keep_artifact(
        self, runner: Runner, artifact: runner_pb2.RunnerArtifact, files: WorkerFiles
    ) -> None:
        stored = await files.put_artifact(
            runner.work_dir, artifact, self.lease.run.id, self.lease.epoch, self._identity
        )
        payload = {
            "id": stored.id,
            "name": stored.name,
            "media_type": stored.media_type,
            "size_bytes": stored.size_bytes,
        }
        await self._log.add(_event("artifact.created", payload, task=artifact.task))

    async def _keep_effect(self, runner: Runner, effect: run_store_pb2.Effect) -> None:
        """Have a call with side effects kept before the agent learns of its result."""
        effect.result = _storable(effect.result)
        while True:
            try:
                await self._log.keep_effect(effect)
                break
            except (UnavailableError, DeadlineError) as error:
                # As long as the lease holds: the call was made, and must not be forgotten.
                log.warning("an effect waits for the store", reason=error.message)
                await asyncio.sleep(_RETRY_SECONDS)
        await runner.confirm(effect)

    def _waiting(self, waiting: runner_pb2.Waiting) -> Outcome:
        transition = run_store_pb2.Transition(
            status=run_pb2.RUN_STATUS_WAITING, usage=waiting.usage
        )
        transition.wait.FromSeconds(self._input_seconds)
        payload = json.loads(waiting.payload_json)
        return Outcome(transition, "input.requested", payload, waiting.task, waiting.agent)

    def _succeeded(self, finished: runner_pb2.Finished) -> Outcome:
        output = _storable(finished.output)
        transition = run_store_pb2.Transition(
            status=run_pb2.RUN_STATUS_SUCCEEDED,
            output=output,
            output_json=finished.output_json,
            usage=finished.usage,
        )
        payload = {
            "output": output[:8_000],
            "usage": _usage(finished.usage),
            "duration_ms": round((time.monotonic() - self._started) * 1000),
        }
        if len(output) > 8_000:
            payload["truncated"] = True
        return Outcome(transition, "run.succeeded", payload)

    def _failed(self, error: run_pb2.RunError, usage: run_pb2.Usage | None = None) -> Outcome:
        error = run_pb2.RunError(code=error.code, message=_storable(error.message))
        transition = run_store_pb2.Transition(
            status=run_pb2.RUN_STATUS_FAILED, error=error, usage=usage
        )
        return Outcome(transition, "run.failed", {"code": error.code, "message": error.message})

    def _retry_or_fail(self, code: str, message: str) -> Outcome:
        """Try again after an end that isn't the crew's own fault, while attempts remain."""
        run = self.lease.run
        if self._stop_reason is not None:
            return self._outcome_of_stop()
        if run.failures + 1 >= run.max_attempts:
            tried = f"{message} (failure {run.failures + 1} of {run.max_attempts})"
            return self._failed(run_pb2.RunError(code="attempts_exhausted", message=tried))
        error = run_pb2.RunError(code=code, message=_storable(message))
        return _queued({"reason": code, "message": error.message}, error)

    def _outcome_of_stop(self) -> Outcome:
        run = self.lease.run
        if self._stop_reason == "cancelled":
            error = run_pb2.RunError(code="cancelled", message="cancelled on request")
            transition = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_CANCELLED, error=error)
            return Outcome(transition, "run.cancelled", {"reason": error.message})
        if self._stop_reason is not None or self._log.lost.is_set():
            return _queued({"reason": self._stop_reason or "lost"})
        error = run_pb2.RunError(
            code="timed_out", message=f"not finished within {run.timeout_seconds} s"
        )
        transition = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_TIMED_OUT, error=error)
        return Outcome(transition, "run.timed_out", {"timeout_seconds": run.timeout_seconds})


def end_as_failed(
    error: CrewmeshError,
) -> tuple[run_pb2.RunEvent, run_store_pb2.Transition]:
    """Return how a run ends that can't be executed here or anywhere else."""
    fault = run_pb2.RunError(code=error.reason.lower(), message=_storable(error.message))
    transition = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_FAILED, error=fault)
    return _event("run.failed", {"code": fault.code, "message": fault.message}), transition


def _queued(payload: dict[str, Any], error: run_pb2.RunError | None = None) -> Outcome:
    transition = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_QUEUED, error=error)
    return Outcome(transition, "run.queued", payload)


def _from_runner(event: runner_pb2.RunnerEvent) -> run_pb2.RunEvent:
    """Return a runner's event for the log. A runner is not trusted: what can't be stored is not."""
    payload = event.payload_json
    try:
        valid = isinstance(json.loads(payload), dict)
    except ValueError:
        valid = False
    if not valid or len(payload.encode()) > _MAX_PAYLOAD_BYTES:
        payload = json.dumps({"omitted": f"{len(payload)} characters that can't be stored"})
    message = run_pb2.RunEvent(
        type=_storable(event.type),
        task=_storable(event.task),
        agent=_storable(event.agent),
        payload_json=payload,
    )
    message.at.FromMicroseconds(event.at_us)
    return message


def _event(
    event_type: str, payload: dict[str, Any], task: str = "", agent: str = ""
) -> run_pb2.RunEvent:
    event = run_pb2.RunEvent(
        type=event_type,
        payload_json=json.dumps(payload),
        task=_storable(task),
        agent=_storable(agent),
    )
    event.at.GetCurrentTime()
    return event


def _storable(text: str) -> str:
    """Return the text without NUL, which Postgres can't hold."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _usage(usage: run_pb2.Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "model_calls": usage.model_calls,
    }
