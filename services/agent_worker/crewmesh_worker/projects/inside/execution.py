"""One run of a project: like a crew's, with the project's files, variables and models."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
from crewai import Crew
from crewai.context import get_current_task_id
from crewai.events.stream_context import add_stream_sink
from dotenv import dotenv_values

from crewmesh.v1.run_store_pb2 import TaskCheckpoint
from crewmesh.v1.runner_pb2 import Execute, FromRunner, Waiting
from crewmesh_worker.projects.inside.flow_events import FlowProjection
from crewmesh_worker.projects.inside.flow_run import FlowRun
from crewmesh_worker.projects.inside.inputs import complete_inputs
from crewmesh_worker.projects.inside.journal import (
    Journal,
    TaskKey,
    WaitingRecord,
    current_call,
)
from crewmesh_worker.projects.inside.loading import Loaded, load
from crewmesh_worker.projects.inside.models import (
    drop_keyless_memory,
    every_model_call,
    exchanged_models,
    skip_keyless_flow_memory,
)
from crewmesh_worker.projects.inside.people import FlowPaused, People
from crewmesh_worker.projects.inside.results import flow_output
from crewmesh_worker.projects.inside.workspace import Workspace
from crewmesh_worker.runner import artifacts
from crewmesh_worker.runner.checkpoints import to_checkpoint
from crewmesh_worker.runner.effects import tools_of
from crewmesh_worker.runner.environment import add_variables, run_environment
from crewmesh_worker.runner.execution import Run
from crewmesh_worker.runner.framing import FramingError
from crewmesh_worker.runner.human import Paused, ResumedTask, use_provider
from crewmesh_worker.runner.preload import Factories
from crewmesh_worker.runner.stream import Ask, Send
from crewmesh_worker.runner.text import put_text, storable

log = structlog.get_logger(__name__)


class ProjectRun(Run):
    """A run of a project's crew or flow."""

    def __init__(self, request: Execute, send: Send, ask: Ask, factories: Factories) -> None:
        super().__init__(request, send, ask, factories)
        self._project = request.project
        self._workspace = Workspace(
            Path(request.work_dir), lambda path, name: artifacts.save(path, name)
        )
        self._flow: FlowRun | None = None
        self._journal = Journal(())
        # Of crews in a flow's methods: task id to key.
        self._inner: dict[str, TaskKey] = {}

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Work in a copy of the project, with its .env and the models that it has keys for.

        Its models are called through `ModelCalls`, wherever its code makes them.
        """
        made = Path(self._project.made_dir) if self._project.made_dir else None
        self._workspace.fill(Path(self._project.snapshot_dir), made, self._project.env_file)
        with (
            run_environment(
                self._workspace.directory, self._request.environment, self._workspace.home
            ),
            exchanged_models(
                self._model, self._project.exchanges_all_models, self._warn, self._calls.guarded
            ),
            every_model_call(self._calls.refuse_uncounted),
        ):
            variables = dotenv_values(self._workspace.directory / ".env")
            fixed = self._project.fixed_variables
            add_variables({n: v for n, v in variables.items() if n not in fixed})
            try:
                yield
            finally:
                self._collect()

    def _kick_off(self) -> Any:
        skip_keyless_flow_memory()
        loaded = load(self._workspace.directory, json.loads(self._project.entry_json))
        inputs = complete_inputs(loaded, json.loads(self._request.inputs_json or "{}"))
        if loaded.is_flow:
            return self._run_flow(loaded, inputs)
        self._settle(loaded.target)
        return self._run_crew(loaded.target, inputs)

    def _settle(self, crew: Crew) -> None:
        """Have a crew neither draw on the terminal nor remember what it can't."""
        crew.stream = False
        crew.verbose = False
        for agent in crew.agents:
            agent.verbose = False
        drop_keyless_memory(crew, self._warn)

    def _run_flow(self, loaded: Loaded, inputs: dict[str, Any]) -> Any:
        self._journal = Journal(self._request.checkpoints)
        projection = FlowProjection(self._stream, self._journal, self._on_usage)
        projection.usage, self._projection = self._projection.usage, projection
        answer = self._request.answer if self._request.HasField("answer") else None
        people = People(self._journal.open_question, answer)
        self._flow = FlowRun(
            loaded.target, self._journal, people, projection, self._start_inner_crew
        )
        use_provider(None)
        add_stream_sink(self._receive)
        result = self._unless_refused(self._flow.kickoff(inputs))
        return flow_output(result, loaded.target)

    def _start_inner_crew(self, crew: Crew, keys: list[TaskKey]) -> None:
        """Take up what is finished of a crew that a method starts."""
        self._settle(crew)
        assert isinstance(self._projection, FlowProjection)
        self._projection.follow_crew(crew, keys)
        self._inner.update({str(t.id): k for t, k in zip(crew.tasks, keys, strict=True)})
        saved = [
            TaskCheckpoint(task_index=key.place, output=self._journal.tasks[key].output)
            for key in keys
            if key in self._journal.tasks
        ]
        prefix = "/".join(map(str, (*keys[0].call, *keys[0][1:3]))) + "/"
        self._take_up(crew, saved, self._resumed(crew, keys), prefix)

    def _take_up(self, crew: Crew, *rest: Any) -> None:
        names = [tool.name for tool in tools_of(crew)]
        if faults := self._policy.faults([], names):
            raise self._calls.refuse("policy_denied", "; ".join(f.message for f in faults))
        super()._take_up(crew, *rest)

    def _resumed(self, crew: Crew, keys: list[TaskKey]) -> ResumedTask | None:
        question = self._journal.open_question
        if question is None or question.task not in keys or not self._request.HasField("answer"):
            return None
        checkpoint = TaskCheckpoint(output=question.checkpoint)
        return ResumedTask(crew.tasks[question.task.place], checkpoint, self._request.answer)

    def _receive(self, source: Any, event: Any) -> None:
        flow = self._flow
        if flow is not None and event.type == "method_execution_finished" and flow.is_its(source):
            try:
                self._collect()
                self._send_record(flow.finished_method(event.result))
            except Exception as error:
                log.warning("a result can't be kept", method=event.method_name, exc_info=error)
                self._warn(f"the result of {event.method_name} can't be kept: {error}")
        super()._receive(source, event)

    def _checkpoint(self, task_id: str, output: Any) -> None:
        self._collect()
        if self._flow is None:
            super()._checkpoint(task_id, output)
        elif (key := self._inner.get(task_id)) is not None:
            kept = to_checkpoint(key.place, output).output
            self._send_record(self._flow.finished_task(key, kept))

    def _send_record(self, record: TaskCheckpoint | None) -> None:
        if record is None:
            return
        try:
            self._stream.message(FromRunner(checkpoint=record))
        except FramingError as error:
            self._journal.give_up()
            self._warn(f"a result is too large to keep for a later attempt: {error}")

    def _waiting(self, pause: Paused) -> FromRunner:
        if self._flow is None:
            return super()._waiting(pause)
        call = current_call.get()
        key = self._inner[str(pause.task.id)]
        record = WaitingRecord(
            "task", call.key if call else key.call, task=key, checkpoint=pause.checkpoint(0).output
        )
        self._stream.message(FromRunner(checkpoint=self._journal.write_waiting(record)))
        return self._waiting_for_task(pause)

    def _other_end(self, error: BaseException) -> FromRunner | None:
        """Return what tells of a flow that waits; None for any other end."""
        if not isinstance(error, FlowPaused):
            return None
        try:
            checkpoint = self._journal.write_waiting(error.record)
        except TypeError as fault:
            return self.failed(fault)
        self._stream.message(FromRunner(checkpoint=checkpoint))
        payload = dict(error.payload)
        for name in ("prompt", "draft"):
            if name in payload:
                put_text(payload, name, payload[name])
        return FromRunner(
            waiting=Waiting(
                usage=self._projection.usage,
                payload_json=json.dumps(payload, ensure_ascii=False),
                task=storable(error.record.call.method),
            )
        )

    def _current_task(self) -> str:
        task = self._projection.task_name(get_current_task_id())
        if not task and isinstance(self._projection, FlowProjection):
            return self._projection.place()
        return task

    def _collect(self) -> None:
        for name in self._workspace.collect():
            self._warn(f"the file {name} isn't kept: the run has made too many, or too large ones")

    def _warn(self, message: str) -> None:
        payload = put_text({"level": "warning"}, "message", message)
        self._stream.event("log", self._current_task(), "", payload)
