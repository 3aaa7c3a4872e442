"""A flow's events as the run's own: its methods, and the tasks of the crews in them, are tasks."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from crewai import Crew

from crewmesh.v1.runner_pb2 import CallUsage
from crewmesh_worker.projects.inside.journal import CallKey, Journal, TaskKey, current_call
from crewmesh_worker.runner.events import EventProjection
from crewmesh_worker.runner.stream import EventStream
from crewmesh_worker.runner.text import put_text


class FlowProjection(EventProjection):
    """Numbers methods and tasks as they begin; those of earlier attempts keep their numbers."""

    def __init__(
        self,
        stream: EventStream,
        journal: Journal,
        on_usage: Callable[[CallUsage], None] | None = None,
    ) -> None:
        super().__init__(stream, on_usage)
        self._indexes: dict[Hashable, int] = {
            **{key: record.event_index for key, record in journal.methods.items()},
            **{key: record.event_index for key, record in journal.tasks.items()},
        }
        self._flow: Any = None

    def follow_flow(self, flow: Any) -> None:
        """Learn whose methods are to be told."""
        self._flow = flow

    def follow_crew(self, crew: Crew, keys: list[TaskKey]) -> None:
        """Learn the tasks of a crew that a method starts."""
        self.add(crew, [self.index(key) for key in keys])

    def index(self, key: Hashable) -> int:
        """Return the number of a method's call or of a task: the lowest that is free."""
        if key not in self._indexes:
            taken = set(self._indexes.values())
            self._indexes[key] = next(n for n in range(len(taken) + 1) if n not in taken)
        return self._indexes[key]

    def place(self) -> str:
        """Return the name of the method that is under way here, or ""."""
        call = current_call.get()
        return call.key.method if call else ""

    def _on_method_execution_started(self, source: Any, event: Any) -> None:
        if (key := self._key(source)) is not None:
            self._begin(str(key))
            payload = {"index": self.index(key), "kind": "method", "call": key.number}
            self._stream.event("task.started", key.method, "", payload)

    def _on_method_execution_finished(self, source: Any, event: Any) -> None:
        if (key := self._key(source)) is not None:
            payload = {"index": self.index(key), "duration_ms": self._duration(str(key))}
            output = "" if event.result is None else event.result
            self._stream.event(
                "task.completed", key.method, "", put_text(payload, "output", output)
            )

    def _on_method_execution_failed(self, source: Any, event: Any) -> None:
        if (key := self._key(source)) is not None:
            payload = put_text({"index": self.index(key)}, "error", event.error)
            self._stream.event("task.failed", key.method, "", payload)

    def _key(self, source: Any) -> CallKey | None:
        """Return which call an event of the flow is about; None for another flow's."""
        call = current_call.get()
        return call.key if call is not None and source is self._flow else None

    def _whose(self, event: Any) -> tuple[str, str]:
        task, agent = super()._whose(event)
        return task or self.place(), agent
