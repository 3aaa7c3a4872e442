"""CrewAI's events as the run's own: small, and only what a reader of the log needs.

CrewAI's carry whole agents, tasks and conversations (22 to 35 kB each); ours are listed
in docs/reference/events.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from crewai import Crew
from crewai.types.usage_metrics import UsageMetrics

from crewmesh.v1.run_pb2 import Usage
from crewmesh.v1.runner_pb2 import CallUsage
from crewmesh_worker.models.names import model_name
from crewmesh_worker.runner.stream import EventStream
from crewmesh_worker.runner.text import put_json, put_text

_MAX_NAME_CHARACTERS = 200


class EventProjection:
    """Receives a crew's events in their order and sends what they mean to the stream.

    `usage` is the sum of what the model calls so far have reported.
    """

    def __init__(
        self, stream: EventStream, on_usage: Callable[[CallUsage], None] | None = None
    ) -> None:
        self._stream = stream
        # Is told what each model call has consumed, before anybody else.
        self._on_usage = on_usage
        # Of the crew's tasks, by their ids.
        self._tasks: dict[str, int] = {}
        self._names: dict[str, str] = {}
        # Nothing where nobody knows how many tasks there will be.
        self._total: dict[str, int] = {}
        # When each task, tool call and model call began, by its id.
        self._started: dict[str, float] = {}
        self.usage = Usage()

    def follow(self, crew: Crew) -> None:
        """Learn the tasks of the crew whose events will come."""
        self.add(crew, list(range(len(crew.tasks))))
        self._total = {"total": len(crew.tasks)}

    def add(self, crew: Crew, indexes: list[int]) -> None:
        """Learn the tasks of one of several crews, and their positions in the run."""
        for task, index in zip(crew.tasks, indexes, strict=True):
            self._tasks[str(task.id)] = index
            self._names[str(task.id)] = _name(task)

    def receive(self, source: Any, event: Any) -> None:
        """Take one event; kinds that mean nothing to the run's log are passed over."""
        handle = getattr(self, f"_on_{event.type}", None)
        if handle is not None:
            handle(source, event)

    def task_name(self, task_id: str | None) -> str:
        """Return the name of a task of the crew, or "" for another."""
        return self._names.get(task_id or "", "")

    def task_index(self, task_id: str) -> int | None:
        """Return a task's position in the crew, or None if it isn't one of the crew's."""
        return self._tasks.get(task_id)

    def task_completed(self, task: Any, output: Any) -> None:
        """Tell that a task of the crew is done."""
        index = self._tasks.get(str(task.id))
        if index is not None:
            payload = {"index": index, "duration_ms": self._duration(str(task.id))}
            self._send_of_task("task.completed", task, put_text(payload, "output", output.raw))

    def _on_task_started(self, task: Any, event: Any) -> None:
        index = self._tasks.get(str(task.id))
        if index is not None:
            self._begin(str(task.id))
            payload = {"index": index, **self._total}
            self._send_of_task(
                "task.started", task, put_text(payload, "description", task.description)
            )

    def _on_task_completed(self, task: Any, event: Any) -> None:
        self.task_completed(task, event.output)

    def _on_task_failed(self, task: Any, event: Any) -> None:
        index = self._tasks.get(str(task.id))
        if index is not None:
            self._send_of_task(
                "task.failed", task, put_text({"index": index}, "error", event.error)
            )

    def _on_agent_execution_started(self, source: Any, event: Any) -> None:
        self._stream.event("agent.started", _name(event.task), _role(event.agent.role), {})

    def _on_agent_execution_completed(self, source: Any, event: Any) -> None:
        payload = put_text({}, "output", event.output)
        self._stream.event("agent.completed", _name(event.task), _role(event.agent.role), payload)

    def _on_agent_execution_error(self, source: Any, event: Any) -> None:
        payload = put_text({"level": "warning"}, "message", f"the agent failed: {event.error}")
        self._stream.event("log", _name(event.task), _role(event.agent.role), payload)

    def _on_tool_usage_started(self, source: Any, event: Any) -> None:
        self._begin(event.event_id)
        payload = {"call_id": event.event_id, "tool": event.tool_name}
        self._send("tool.started", event, put_json(payload, "arguments", event.tool_args))

    def _on_tool_usage_finished(self, source: Any, event: Any) -> None:
        if event.failure is not None:
            self._tool_failed(event, event.failure.message)
        else:
            self._send(
                "tool.completed", event, put_text(self._tool_call(event), "output", event.output)
            )

    def _on_tool_usage_error(self, source: Any, event: Any) -> None:
        self._tool_failed(event, event.error)

    def _on_tool_selection_error(self, source: Any, event: Any) -> None:
        self._tool_failed(event, event.error)

    def _on_tool_validate_input_error(self, source: Any, event: Any) -> None:
        self._tool_failed(event, event.error)

    def _on_llm_call_started(self, source: Any, event: Any) -> None:
        self._begin(event.call_id)
        self._send("llm.started", event, {"call_id": event.call_id, "model": model_name(source)})

    def _on_llm_stream_chunk(self, source: Any, event: Any) -> None:
        if event.chunk and event.tool_call is None:
            task, agent = self._whose(event)
            self._stream.chunk(event.call_id, event.chunk, task, agent)

    def _on_llm_call_completed(self, source: Any, event: Any) -> None:
        usage = _call_usage(source, event)
        if self._on_usage is not None:
            self._on_usage(usage)
        self.usage.prompt_tokens += usage.prompt_tokens
        self.usage.completion_tokens += usage.completion_tokens
        self.usage.total_tokens += usage.total_tokens
        self.usage.model_calls += 1
        payload = {
            "call_id": event.call_id,
            "model": usage.model,
            "usage": _usage_payload(usage),
            "duration_ms": self._duration(event.call_id),
        }
        self._send("llm.completed", event, payload)

    def _on_llm_call_failed(self, source: Any, event: Any) -> None:
        # Some of CrewAI's models tell of the same failure twice.
        if self._started.pop(event.call_id, None) is not None:
            payload = {"call_id": event.call_id, "model": model_name(source)}
            self._send("llm.failed", event, put_text(payload, "error", event.error))

    def tell(self, type_: str, task: Any, agent: Any, payload: dict[str, Any]) -> None:
        """Send an event that isn't CrewAI's, of a task and an agent where there are."""
        task_name = self._names.get(str(task.id), _name(task)) if task is not None else ""
        role = _role(getattr(agent, "role", "") or "")
        self._stream.event(type_, task_name, role, payload)

    def _tool_failed(self, event: Any, error: object) -> None:
        self._send("tool.failed", event, put_text(self._tool_call(event), "error", error))

    def _tool_call(self, event: Any) -> dict[str, Any]:
        call_id = event.started_event_id or event.event_id
        duration = self._duration(call_id)
        return {"call_id": call_id, "tool": event.tool_name, "duration_ms": duration}

    def _begin(self, key: str) -> None:
        self._started[key] = time.monotonic()

    def _duration(self, key: str) -> int:
        """Return the milliseconds since `_begin`, to be asked once."""
        now = time.monotonic()
        return round((now - self._started.pop(key, now)) * 1000)

    def _send(self, type_: str, event: Any, payload: dict[str, Any]) -> None:
        task, agent = self._whose(event)
        self._stream.event(type_, task, agent, payload)

    def _send_of_task(self, type_: str, task: Any, payload: dict[str, Any]) -> None:
        self._stream.event(
            type_, _name(task), _role(task.agent.role if task.agent else ""), payload
        )

    def _whose(self, event: Any) -> tuple[str, str]:
        task = self._names.get(event.task_id or "") or event.task_name or ""
        return task[:_MAX_NAME_CHARACTERS], _role(event.agent_role or "")


def _call_usage(source: Any, event: Any) -> CallUsage:
    tokens = UsageMetrics.from_provider_dict(event.usage) or UsageMetrics()
    return CallUsage(
        model=model_name(source),
        prompt_tokens=tokens.prompt_tokens,
        completion_tokens=tokens.completion_tokens,
        total_tokens=tokens.total_tokens,
        cached_tokens=tokens.cached_prompt_tokens,
        cache_creation_tokens=tokens.cache_creation_tokens,
    )


def _usage_payload(usage: CallUsage) -> dict[str, int]:
    payload = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    for name in ("cached_tokens", "cache_creation_tokens"):
        if count := getattr(usage, name):
            payload[name] = count
    return payload


def _name(task: Any) -> str:
    name: str = task.name or task.description
    return name[:_MAX_NAME_CHARACTERS]


def _role(role: str) -> str:
    return role.strip()[:_MAX_NAME_CHARACTERS]
