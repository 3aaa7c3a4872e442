"""A run's events as the worker makes them, or takes them from a runner, which it doesn't trust."""

from __future__ import annotations

import json
from typing import Any, Final

from crewmesh.v1 import run_pb2, runner_pb2
from crewmesh_worker.runner.text import storable

MAX_PAYLOAD_BYTES: Final = 64 * 1024


def make_event(
    event_type: str, payload: dict[str, Any], task: str = "", agent: str = ""
) -> run_pb2.RunEvent:
    """Return an event of now."""
    event = run_pb2.RunEvent(
        type=event_type,
        payload_json=json.dumps(payload),
        task=storable(task),
        agent=storable(agent),
    )
    event.at.GetCurrentTime()
    return event


def from_runner(event: runner_pb2.RunnerEvent, payload_json: str) -> run_pb2.RunEvent:
    """Return a runner's event for the log, with this payload; what can't be stored is not."""
    if not _is_storable(payload_json):
        omitted = f"{len(payload_json)} characters that can't be stored"
        payload_json = json.dumps({"omitted": omitted})
    message = run_pb2.RunEvent(
        type=storable(event.type),
        task=storable(event.task),
        agent=storable(event.agent),
        payload_json=payload_json,
    )
    message.at.FromMicroseconds(event.at_us)
    return message


def _is_storable(payload_json: str) -> bool:
    try:
        return (
            isinstance(json.loads(payload_json), dict)
            and len(payload_json.encode()) <= MAX_PAYLOAD_BYTES
        )
    except ValueError:
        return False
