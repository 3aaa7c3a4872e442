"""Runs a flow so that what it has finished isn't run again, and so that it can wait."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog
from crewai import Crew
from crewai.flow.async_feedback import HumanFeedbackPending
from crewai.flow.flow_config import flow_config
from crewai.hooks.dispatch import InterceptionPoint, scoped_hooks

from crewmesh.v1.run_store_pb2 import TaskCheckpoint
from crewmesh_worker.projects.inside.flow_events import FlowProjection
from crewmesh_worker.projects.inside.journal import (
    Call,
    CallKey,
    Journal,
    MethodRecord,
    TaskKey,
    TaskRecord,
    current_call,
    restore_state,
    state_values,
)
from crewmesh_worker.projects.inside.people import (
    Feedback,
    People,
    exact_outcome,
    pause_for_feedback,
)

log = structlog.get_logger(__name__)


class FlowRun:
    """A flow that takes up what earlier attempts of its run have finished.

    `start_crew` is called with each crew that a method starts, its keys and its call,
    before it begins. CrewAI's engine stays in charge; the few of its methods that are
    replaced on the flow are named in `__init__`.
    """

    def __init__(
        self,
        flow: Any,
        journal: Journal,
        people: People,
        projection: FlowProjection,
        start_crew: Callable[[Crew, list[TaskKey]], None],
    ) -> None:
        self._flow = flow
        self._journal = journal
        self._people = people
        self._projection = projection
        self._start_crew = start_crew
        self._counts: Counter[str] = Counter()
        self._restored = False
        self._execute = flow._execute_method
        flow._execute_method = self._execute_once
        self._own_provider = getattr(flow, "_resolve_feedback_provider", None)
        if self._own_provider is not None:
            flow._resolve_feedback_provider = self._feedback_provider
        if hasattr(flow, "_collapse_to_outcome"):
            flow._collapse_to_outcome = exact_outcome(flow._collapse_to_outcome)
        flow.input_provider = None
        flow.stream = False
        # Its events are what the run's log is made of.
        flow.suppress_flow_events = False

    def kickoff(self, inputs: dict[str, Any]) -> Any:
        """Run the flow to its end and return its result; raise FlowPaused where it has to wait."""
        flow_config.hitl_provider = Feedback(self._people, None)
        flow_config.input_provider = self._people
        self._projection.follow_flow(self._flow)
        with scoped_hooks({InterceptionPoint.EXECUTION_START: [self._on_execution_start]}):
            result = self._flow.kickoff(inputs=inputs)
        if isinstance(result, HumanFeedbackPending):
            # A provider of the project's own said so, past ours.
            key = CallKey(str(result.context.method_name), self._counts[result.context.method_name])
            raise pause_for_feedback(result.context, key, self._flow)
        return result

    def is_its(self, source: Any) -> bool:
        """Tell whether an event comes from this flow, and from no flow in it."""
        return source is self._flow

    def finished_method(self, result: Any) -> TaskCheckpoint | None:
        """Return the record of the call that has just finished here, to be kept."""
        call = current_call.get()
        if call is None:
            return None
        outputs = reversed(self._flow._method_outputs)
        entry = next(dict(e) for e in outputs if e["method"] == call.key.method)
        index = self._projection.index(call.key)
        record = MethodRecord(call.key, index, entry, result, state_values(self._flow))
        return self._journal.write(record)

    def finished_task(self, key: TaskKey, output: bytes) -> TaskCheckpoint | None:
        """Return the record of a task of a crew in a method, to be kept."""
        return self._journal.write(TaskRecord(key, self._projection.index(key), output))

    async def _execute_once(
        self, name: str, method: Any, *args: Any, **kwargs: Any
    ) -> tuple[Any, str | None]:
        """Stand in for the engine's method: what is kept isn't executed again."""
        self._counts[str(name)] += 1
        key = CallKey(str(name), self._counts[str(name)])
        self._restore_state()
        if (record := self._journal.methods.get(key)) is not None:
            return self._replay(record), None
        waiting = self._journal.open_question
        if waiting is not None and waiting.kind == "feedback" and waiting.call == key:
            method, args, kwargs = _returning(waiting.body), (), {}
        token = current_call.set(Call(key, answers=self._people.answers_of(key)))
        try:
            result: tuple[Any, str | None] = await self._execute(name, method, *args, **kwargs)
            return result
        finally:
            current_call.reset(token)

    def _restore_state(self) -> None:
        """Once, before the first method: go on with the newest state that is known."""
        if not self._restored and self._journal.last_state is not None:
            restore_state(self._flow, self._journal.last_state)
        self._restored = True

    def _replay(self, record: MethodRecord) -> Any:
        flow = self._flow
        flow._method_outputs.append(record.entry)
        counts = flow._method_execution_counts
        counts[record.key.method] = counts.get(record.key.method, 0) + 1
        flow._completed_methods.add(record.key.method)
        feedback = record.entry.get("human_feedback")
        if feedback is None and hasattr(record.result, "feedback"):
            feedback = record.result
        if feedback is not None and hasattr(flow, "human_feedback_history"):
            flow.human_feedback_history.append(feedback)
            flow.last_human_feedback = feedback
        return record.result

    def _feedback_provider(self, definition: Any) -> Any:
        assert self._own_provider is not None
        own = self._own_provider(definition)
        return own if isinstance(own, Feedback) else Feedback(self._people, own)

    def _on_execution_start(self, context: Any) -> None:
        crew, call = getattr(context, "crew", None), current_call.get()
        if crew is None or call is None:
            return
        digest = _crew_digest(crew, context.inputs)
        call.crews[digest] += 1
        number = call.crews[digest]
        keys = [TaskKey(call.key, digest, number, place) for place in range(len(crew.tasks))]
        self._start_crew(crew, keys)


def _crew_digest(crew: Crew, inputs: Any) -> str:
    """Tell crews apart by what they are to do."""
    text = json.dumps([crew.key, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _returning(value: Any) -> Callable[..., Any]:
    def returns(*_: Any, **__: Any) -> Any:
        return value

    return returns
