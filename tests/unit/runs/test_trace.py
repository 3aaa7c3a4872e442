"""An attempt's spans, of its events."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh_worker.runs.trace import AttemptTrace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def trace(exporter: InMemorySpanExporter) -> AttemptTrace:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    run = run_pb2.Run(id="r1", org_id="o1", crew="hello", attempt=2)
    lease = run_store_pb2.Lease(run=run, traceparent=PARENT)
    return AttemptTrace(lease, provider.get_tracer("test"))


def take(trace: AttemptTrace, *events: tuple[str, str, dict[str, Any]]) -> None:
    """Each is a type, the task, and the payload; the agent is always the same."""
    for at, (event_type, task, payload) in enumerate(events, 1):
        event = run_pb2.RunEvent(
            type=event_type, task=task, agent="Poet", payload_json=json.dumps(payload)
        )
        event.at.FromSeconds(at)
        trace.take(event)


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_calls_are_their_agent_s_and_agents_their_task_s(
    trace: AttemptTrace, exporter: InMemorySpanExporter
) -> None:
    take(
        trace,
        ("task.started", "write", {"index": 0}),
        ("agent.started", "write", {}),
        ("llm.started", "write", {"call_id": "1", "model": "openai/gpt-5-mini"}),
        ("llm.completed", "write", {"call_id": "1", "model": "openai/gpt-5-mini", "cost_usd": 0.5,
                                    "usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
        ("task.completed", "write", {"index": 0}),
        ("run.succeeded", "", {}),
    )  # fmt: skip
    made = spans(exporter)
    chain = [
        "chat openai/gpt-5-mini",
        "invoke_agent Poet",
        "task write",
        "invoke_workflow hello",
    ]
    assert made.keys() == set(chain)
    for below, above in itertools.pairwise(chain):
        parent = made[below].parent
        assert parent is not None
        assert parent.span_id == made[above].context.span_id
    root = made[chain[-1]]
    assert root.parent is not None
    assert format(root.parent.span_id, "016x") == "b7ad6b7169203331"
    assert format(root.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    call = made[chain[0]].attributes or {}
    assert call["gen_ai.provider.name"] == "openai"
    assert (call["gen_ai.usage.input_tokens"], call["gen_ai.usage.output_tokens"]) == (7, 3)
    assert call["crewmesh.cost_usd"] == 0.5
    assert made["task write"].start_time == 1_000_000_000
    assert made["task write"].end_time == 5_000_000_000


@pytest.mark.parametrize(
    ("end", "payload", "failure"),
    [
        ("run.succeeded", {}, None),
        ("run.cancelled", {"reason": "asked"}, None),
        ("run.queued", {"reason": "drained"}, None),
        ("input.requested", {"prompt": "?"}, None),
        ("run.queued", {"reason": "runner_died", "message": "by SIGKILL"}, "runner_died"),
        ("run.failed", {"code": "crew_error"}, "crew_error"),
        ("run.timed_out", {"timeout_seconds": 3}, "run.timed_out"),
    ],
)
def test_what_is_open_ends_with_the_attempt_which_fails_only_if_it_did(
    trace: AttemptTrace,
    exporter: InMemorySpanExporter,
    end: str,
    payload: dict[str, Any],
    failure: str | None,
) -> None:
    take(
        trace,
        ("task.started", "write", {"index": 0}),
        ("tool.started", "write", {"call_id": "1", "tool": "get_time"}),
        (end, "", payload),
    )
    made = spans(exporter)
    assert made.keys() == {"invoke_workflow hello", "task write", "execute_tool get_time"}
    root = made["invoke_workflow hello"]
    assert (root.attributes or {}).get("error.type") == failure
    assert (root.attributes or {})["crewmesh.attempt.outcome"] == end
    assert root.end_time == 3_000_000_000


def test_a_lost_attempt_s_spans_end_too(
    trace: AttemptTrace, exporter: InMemorySpanExporter
) -> None:
    take(trace, ("task.started", "write", {"index": 0}))
    trace.abandon()
    assert (spans(exporter)["invoke_workflow hello"].attributes or {})["error.type"] == "lease_lost"


def test_ends_of_what_never_began_are_passed_over(
    trace: AttemptTrace, exporter: InMemorySpanExporter
) -> None:
    take(
        trace,
        ("task.completed", "write", {"index": 0}),
        ("tool.failed", "", {"error": "?"}),
        ("llm.completed", "", {"omitted": "what can't be stored"}),
        ("run.succeeded", "", {}),
    )
    assert spans(exporter).keys() == {"invoke_workflow hello"}
