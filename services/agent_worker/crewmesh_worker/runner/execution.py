"""One run in a runner's process: builds the crew, kicks it off, tells what happens."""

from __future__ import annotations

import contextlib
import contextvars
import json
from collections.abc import Container
from pathlib import Path
from typing import Any

import structlog
from crewai import Crew
from crewai.context import get_current_task_id
from crewai.events.stream_context import add_stream_sink
from pydantic_core import to_json

from crewmesh.common.policy import parse_policy
from crewmesh.v1.run_pb2 import RunError
from crewmesh.v1.run_store_pb2 import TaskCheckpoint
from crewmesh.v1.runner_pb2 import (
    CallUsage,
    Execute,
    Failed,
    Finished,
    FromRunner,
    RunnerArtifact,
    Waiting,
)
from crewmesh_worker.crews.model import MESSAGE_FORMAT
from crewmesh_worker.models.guarded import GuardedModel
from crewmesh_worker.runner import approvals, artifacts, cache, endings
from crewmesh_worker.runner.approval import ApprovalGate, Outside
from crewmesh_worker.runner.calls import CallRefused, ModelCalls
from crewmesh_worker.runner.checkpoints import resume, to_checkpoint
from crewmesh_worker.runner.effects import EffectJournal
from crewmesh_worker.runner.environment import run_environment
from crewmesh_worker.runner.events import EventProjection
from crewmesh_worker.runner.framing import FramingError
from crewmesh_worker.runner.human import Paused, ResumedTask, find_resumed, use_provider
from crewmesh_worker.runner.logs import redacted_logs
from crewmesh_worker.runner.memory import RunMemory
from crewmesh_worker.runner.output import PrintedLines
from crewmesh_worker.runner.preload import Factories
from crewmesh_worker.runner.replying import reply_at_once
from crewmesh_worker.runner.stream import Ask, EventStream, Send
from crewmesh_worker.runner.text import MAX_CHARACTERS, put_json, put_text, storable

log = structlog.get_logger(__name__)


def execute(request: Execute, send: Send, ask: Ask, factories: Factories) -> None:
    """Carry out a run and send its messages, the last of which is Finished, Failed or Waiting.

    `ask` is for what the run must have an answer to before it goes on.
    """
    run = _run_class(request)(request, send, ask, factories)
    # A context of its own: what the run sets in it is gone with it.
    outcome = contextvars.copy_context().run(run.outcome)
    try:
        send(outcome)
    except FramingError as error:
        send(run.failed(ValueError(f"the output is too large: {error}")))


def _run_class(request: Execute) -> type[Run]:
    if not request.HasField("project"):
        return Run
    # Only runners of projects have what this needs.
    from crewmesh_worker.projects.inside.execution import ProjectRun

    return ProjectRun


class Run:
    """One run of a crew; `outcome` carries it out."""

    def __init__(self, request: Execute, send: Send, ask: Ask, factories: Factories) -> None:
        self._request = request
        self._effects = EffectJournal(request.effects, ask, request.run_id)
        self._factories = factories
        self._stream = EventStream(send)
        self._projection = EventProjection(self._stream, self._on_usage)
        self._policy = parse_policy(request.policy_json)
        self._calls = ModelCalls(
            request.terms, factories.make_llm, ask, self._stream.message, self._tell, self._policy
        )
        self._calls.on_answer = self._effects.answered
        self._crew: Crew | None = None
        # Whatever an earlier attempt or run has read is in what this one begins with.
        past = bool(request.checkpoints or request.memories or request.effects)
        self._outside = Outside(past=past or request.HasField("answer"))
        # One for each crew of the run.
        self._approvals: list[ApprovalGate] = []
        # Results that nobody needs to approve.
        self._waived: Container[str] = frozenset()
        self._memory: RunMemory | None = None

    def outcome(self) -> FromRunner:
        """Run the crew; return Finished, or Failed whatever it raised."""
        structlog.contextvars.bind_contextvars(run_id=self._request.run_id)
        with redacted_logs(self._request.environment.values()):
            return self._outcome()

    def _outcome(self) -> FromRunner:
        work_dir = Path(self._request.work_dir)
        printed = PrintedLines(self._log_line)
        try:
            with (
                artifacts.saving(work_dir, self._announce),
                cache.using(Path(self._request.cache_dir) if self._request.cache_dir else None),
                endings.closing(),
                contextlib.redirect_stdout(printed),
                approvals.waivable() as self._waived,
                self._surroundings(),
            ):
                return self._finished(self._kick_off())
        except Paused as pause:
            pause.numbers = self._effects.numbers(
                str(pause.task.id), before_answer=pause.call is not None
            )
            return self._waiting(pause)
        except BaseException as error:
            if (end := self._other_end(error)) is not None:
                return end
            log.error("the crew failed", exc_info=error)
            return self.failed(error)
        finally:
            printed.finish()
            self._stream.close()
            if self._memory is not None:
                self._memory.close()

    def failed(self, error: BaseException) -> FromRunner:
        """Return what tells of a crew that raised."""
        if self._calls.refused is not None:
            return self._refused(self._calls.refused)
        message = storable(f"{type(error).__name__}: {error}".removesuffix(": "))
        fault = RunError(code="crew_error", message=message[:MAX_CHARACTERS])
        return FromRunner(failed=Failed(error=fault, usage=self._projection.usage))

    def _surroundings(self) -> contextlib.AbstractContextManager[None]:
        """Return what gives the run its directory and variables."""
        return run_environment(Path(self._request.work_dir), self._request.environment)

    def _other_end(self, error: BaseException) -> FromRunner | None:
        """Return how the run ends where something was raised that is no failure of it."""
        return None

    def _refused(self, refusal: CallRefused) -> FromRunner:
        """Return the end of a run that may call no model any more, with what it has finished."""
        fault = RunError(code=refusal.code, message=refusal.reason)
        tasks = self._crew.tasks if self._crew is not None else []
        partial = "\n\n".join(f"## {t.name}\n\n{t.output.raw}" for t in tasks if t.output)
        failed = Failed(error=fault, usage=self._projection.usage, output_partial=storable(partial))
        return FromRunner(failed=failed)

    def _kick_off(self) -> Any:
        inputs = json.loads(self._request.inputs_json or "{}") | dict(self._request.dataset_paths)
        definition = json.loads(self._request.definition_json)
        if (reply := reply_at_once(definition, inputs, self._stream)) is not None:
            return reply
        crew = self._factories.build_crew(definition, inputs, self._model())
        self._remember(crew, definition, inputs)
        _tell_tools(self._request.policy_json)
        return self._run_crew(crew, inputs)

    def _model(self) -> GuardedModel:
        """Return what runs where nothing else is said."""
        return self._calls.model([self._request.model, *self._request.fallback_models])

    def _run_crew(self, crew: Crew, inputs: dict[str, Any]) -> Any:
        """Run the crew, after what earlier attempts have finished of it."""
        self._crew = crew
        checkpoints = list(self._request.checkpoints)
        answer = self._request.answer if self._request.HasField("answer") else None
        resumed = find_resumed(crew, checkpoints, answer)
        self._projection.follow(crew)
        self._take_up(crew, checkpoints, resumed)
        add_stream_sink(self._receive)
        return self._unless_refused(crew.kickoff(inputs=inputs))

    def _take_up(
        self,
        crew: Crew,
        checkpoints: list[TaskCheckpoint],
        resumed: ResumedTask | None,
        prefix: str = "",
    ) -> None:
        """Have the crew go on after what is finished of it, and hold to what holds for the run.

        Its tasks are known to the projection; see `EffectJournal.guard` for `prefix`.
        """
        self._calls.guard(crew)
        resume(crew, checkpoints, resumed)
        use_provider(resumed, self._waived)
        self._effects.guard(crew, self._policy.needs_approval, prefix)
        if resumed is not None:
            self._effects.go_on(str(resumed.task.id), resumed.numbers)
        # After it, so that a call that was made once isn't asked for again.
        approval = ApprovalGate(self._policy, self._calls, resumed, self._outside)
        approval.guard(crew)
        self._approvals.append(approval)
        if resumed is not None and resumed.task.output is not None:
            self._complete(resumed.task)

    def _unless_refused(self, output: Any) -> Any:
        """Return the output of a run that no call was refused to."""
        if self._calls.refused is not None:
            # Some part of the crew went on without an answer; the run doesn't.
            raise self._calls.refused
        return output

    def _tell(self, type_: str, task: Any, agent: Any, payload: dict[str, Any]) -> None:
        self._projection.tell(type_, task, agent, payload)

    def _on_usage(self, usage: CallUsage) -> None:
        self._calls.completed(usage)

    def _complete(self, task: Any) -> None:
        """Tell that a task is done whose draft was approved: CrewAI passes it over."""
        self._checkpoint(str(task.id), task.output)
        self._projection.task_completed(task, task.output)

    def _remember(self, crew: Crew, definition: dict[str, Any], inputs: dict[str, Any]) -> None:
        """Give the crew its long-term memory, if its definition asks for one."""
        if not (definition.get("crew") or {}).get("memory"):
            return
        properties = (definition.get("inputs") or {}).get("properties", {})
        said = [n for n, prop in properties.items() if prop.get("format") == MESSAGE_FORMAT]
        self._memory = RunMemory(self._request.memories, str(inputs[said[0]]) if said else "")
        # The one is where its agents look, and is set from the other again and again.
        crew.memory = crew._memory = self._memory

    def _receive(self, source: Any, event: Any) -> None:
        """Take an event of CrewAI's; never raise, or the agent would try its step again."""
        if any(approval.stopped for approval in self._approvals):
            return
        try:
            if event.type == "task_completed":
                # Before the event: they are stored together, so none is without the other.
                self._tell_memories()
                self._checkpoint(str(source.id), event.output)
            self._projection.receive(source, event)
        except Exception as error:
            log.error("an event could not be told", type=event.type, exc_info=error)

    def _tell_memories(self) -> None:
        if self._memory is None or (changes := self._memory.take_changes()) is None:
            return
        try:
            self._stream.message(FromRunner(memories=changes))
        except FramingError as error:
            log.warning("what a task remembers is too large to keep", reason=str(error))

    def _checkpoint(self, task_id: str, output: Any) -> None:
        index = self._projection.task_index(task_id)
        if index is None:
            return
        try:
            self._stream.message(FromRunner(checkpoint=to_checkpoint(index, output)))
        except FramingError as error:
            log.warning("an output is too large to keep for a later attempt", reason=str(error))

    def _waiting(self, pause: Paused) -> FromRunner:
        index = self._projection.task_index(str(pause.task.id)) or 0
        self._stream.message(FromRunner(checkpoint=pause.checkpoint(index)))
        return self._waiting_for_task(pause)

    def _waiting_for_task(self, pause: Paused) -> FromRunner:
        task = self._projection.task_name(str(pause.task.id))
        payload = pause.question(task)
        if pause.call is not None:
            put_json(payload, "arguments", pause.call.arguments)
        text = json.dumps(put_text(payload, "draft", pause.draft), ensure_ascii=False)
        return FromRunner(
            waiting=Waiting(
                usage=self._projection.usage,
                payload_json=text,
                task=task,
                agent=storable(pause.task.agent.role),
            )
        )

    def _announce(self, artifact: RunnerArtifact) -> None:
        artifact.task = self._current_task()
        self._stream.message(FromRunner(artifact=artifact))

    def _log_line(self, line: str) -> None:
        payload = put_text({"level": "info"}, "message", line)
        self._stream.event("log", self._current_task(), "", payload)

    def _current_task(self) -> str:
        return self._projection.task_name(get_current_task_id())

    def _finished(self, output: Any) -> FromRunner:
        structured = output.json_dict if output.json_dict is not None else output.pydantic
        text = to_json(structured, inf_nan_mode="null").decode() if structured is not None else ""
        finished = Finished(
            output=storable(output.raw), output_json=storable(text), usage=self._projection.usage
        )
        return FromRunner(finished=finished)


def _tell_tools(policy_json: str) -> None:
    """Let our tools know the tenant's policy; a builder of tests may have entered no run."""
    # A project has none of them, and its environment not what they import.
    from crewmesh_worker.tools.context import current_run

    with contextlib.suppress(LookupError):
        current_run().policy = json.loads(policy_json or "{}")
