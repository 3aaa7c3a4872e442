"""A run's events, as the worker writes them into the log."""

from __future__ import annotations

import json
from typing import Any, Final

from crewmesh.v1 import run_pb2, runner_pb2
from crewmesh_worker.runner.text import storable

MAX_PAYLOAD_BYTES: Final = 64 * 1024


def from_runner(event: runner_pb2.RunnerEvent) -> run_pb2.RunEvent:
    """Return a runner's event for the log. A runner is not trusted: what can't be stored is not."""
    payload = event.payload_json
    try:
        valid = isinstance(json.loads(payload), dict)
    except ValueError:
        valid = False
    if not valid or len(payload.encode()) > MAX_PAYLOAD_BYTES:
        payload = json.dumps({"omitted": f"{len(payload)} characters that can't be stored"})
    message = run_pb2.RunEvent(
        type=storable(event.type),
        task=storable(event.task),
        agent=storable(event.agent),
        payload_json=payload,
    )
    message.at.FromMicroseconds(event.at_us)
    return message


def new(
    event_type: str, payload: dict[str, Any], task: str = "", agent: str = ""
) -> run_pb2.RunEvent:
    """Return an event of the worker's own, of now."""
    event = run_pb2.RunEvent(
        type=event_type,
        payload_json=json.dumps(payload),
        task=storable(task),
        agent=storable(agent),
    )
    event.at.GetCurrentTime()
    return event


def usage_payload(usage: run_pb2.Usage) -> dict[str, int]:
    """Return what a run has used, as payloads have it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "model_calls": usage.model_calls,
    }
