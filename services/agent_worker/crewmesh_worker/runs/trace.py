"""An attempt's spans, made of its events.

The log is what an attempt does, in order, with times, and without secrets: its spans are one more
projection of it, so runners need no OpenTelemetry. They follow the GenAI conventions, and tell
what was called and what it consumed, never what was said.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from crewmesh.common import tracing
from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh_worker.metrics import provider_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_FAILED: Final = ("run.failed", "run.timed_out")


class AttemptTrace:
    """The spans of one attempt: it, its tasks, its agents, and their calls of tools and models."""

    def __init__(self, lease: run_store_pb2.Lease, tracer: Tracer) -> None:
        self._tracer = tracer
        run = lease.run
        parent = tracing.context_of(lease.traceparent) if lease.traceparent else None
        self._root = tracer.start_span(
            f"invoke_workflow {run.crew}",
            parent,
            attributes={
                "gen_ai.operation.name": "invoke_workflow",
                "gen_ai.workflow.name": run.crew,
                "crewmesh.run.id": run.id,
                "crewmesh.org.id": run.org_id,
                "crewmesh.crew.version": run.crew_version,
                "crewmesh.run.attempt": run.attempt,
            },
        )
        self.traceparent = _traceparent(self._root)
        # By what they are about: ("task", name), ("agent", task, role), ("call", id).
        self._open: dict[tuple[str, ...], Span] = {}

    def take(self, event: run_pb2.RunEvent) -> None:
        """Begin or end the span that an event tells of; the attempt's last ends all."""
        handle = getattr(self, "_on_" + event.type.replace(".", "_"), None)
        if handle is not None:
            handle(event, _payload(event))
        elif event.type.startswith("run.") or event.type == "input.requested":
            self._end_attempt(event)

    def abandon(self) -> None:
        """End what is open: the attempt is lost."""
        self._root.set_attribute("crewmesh.attempt.outcome", "lost")
        tracing.set_failed(self._root, "lease_lost")
        self._end_all(None)

    def _on_run_resumed(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        finished = payload.get("finished_tasks", 0)
        self._root.add_event("resumed", {"crewmesh.finished_tasks": finished}, _ns(event))

    def _on_task_started(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        attributes = {"crewmesh.task.name": event.task, "crewmesh.task.index": payload.get("index")}
        self._begin(("task", event.task), f"task {event.task}", event, self._root, attributes)

    def _on_task_completed(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        self._end(("agent", event.task, event.agent), event)
        self._end(("task", event.task), event)

    def _on_task_failed(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        self._end(("agent", event.task, event.agent), event, "task_failed")
        self._end(("task", event.task), event, "task_failed")

    def _on_agent_started(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": event.agent}
        key = ("agent", event.task, event.agent)
        self._begin(key, f"invoke_agent {event.agent}", event, self._above(event), attributes)

    def _on_agent_completed(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        self._end(("agent", event.task, event.agent), event)

    def _on_tool_started(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        tool, call = str(payload.get("tool")), str(payload.get("call_id"))
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool,
            "gen_ai.tool.call.id": call,
        }
        self._begin(("call", call), f"execute_tool {tool}", event, self._above(event), attributes)

    def _on_tool_completed(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        self._end(("call", str(payload.get("call_id"))), event)

    def _on_tool_failed(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        self._end(("call", str(payload.get("call_id"))), event, "tool_failed")

    def _on_llm_started(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        model, call = str(payload.get("model")), str(payload.get("call_id"))
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider_of(model),
            "gen_ai.request.model": model,
        }
        self._begin(("call", call), f"chat {model}", event, self._above(event), attributes)

    def _on_llm_completed(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        key = ("call", str(payload.get("call_id")))
        if (span := self._open.get(key)) is not None:
            usage = payload.get("usage") or {}
            span.set_attribute("gen_ai.usage.input_tokens", usage.get("prompt_tokens", 0))
            span.set_attribute("gen_ai.usage.output_tokens", usage.get("completion_tokens", 0))
            if (cost := payload.get("cost_usd")) is not None:
                span.set_attribute("crewmesh.cost_usd", cost)
        self._end(key, event)

    def _on_llm_failed(self, event: run_pb2.RunEvent, payload: dict[str, Any]) -> None:
        self._end(("call", str(payload.get("call_id"))), event, "model_failed")

    def _above(self, event: run_pb2.RunEvent) -> Span:
        """Return the span of who does what the event tells of: its agent, its task, the attempt."""
        agent = self._open.get(("agent", event.task, event.agent))
        return agent or self._open.get(("task", event.task)) or self._root

    def _begin(
        self,
        key: tuple[str, ...],
        name: str,
        event: run_pb2.RunEvent,
        parent: Span,
        attributes: dict[str, Any],
    ) -> None:
        from opentelemetry import trace

        self._end(key, event)  # one that was begun twice
        given = {name: value for name, value in attributes.items() if value is not None}
        self._open[key] = self._tracer.start_span(
            name, trace.set_span_in_context(parent), attributes=given, start_time=_ns(event)
        )

    def _end(self, key: tuple[str, ...], event: run_pb2.RunEvent, failure: str = "") -> None:
        if (span := self._open.pop(key, None)) is not None:
            if failure:
                tracing.set_failed(span, failure)
            span.end(_ns(event))

    def _end_attempt(self, event: run_pb2.RunEvent) -> None:
        payload = _payload(event)
        self._root.set_attribute("crewmesh.attempt.outcome", event.type)
        if event.type in _FAILED or (event.type == "run.queued" and "message" in payload):
            code = payload.get("code") or payload.get("reason") or event.type
            tracing.set_failed(self._root, str(code))
        self._end_all(_ns(event))

    def _end_all(self, at: int | None) -> None:
        while self._open:
            self._open.popitem()[1].end(at)
        self._root.end(at)


def _payload(event: run_pb2.RunEvent) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(event.payload_json or "{}")
    return payload


def _ns(event: run_pb2.RunEvent) -> int:
    return event.at.ToNanoseconds()


def _traceparent(span: Span) -> str:
    here = span.get_span_context()
    return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"
