"""A run as JSON, as clients and webhooks get it.

What is JSON already (inputs, outputs) goes in as it is, unparsed.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import orjson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.v1.budget_pb2 import BudgetLimit
from crewmesh.v1.run_pb2 import Run, RunStatus, TaskState

JsonObject = dict[str, Any]

MICROS = 1_000_000
_STATUS_PREFIX = "RUN_STATUS_"
STATUS_NAMES = {
    number: name.removeprefix(_STATUS_PREFIX).lower()
    for name, number in RunStatus.items()
    if number != RunStatus.RUN_STATUS_UNSPECIFIED
}
STATUS_NUMBERS = {name: number for number, name in STATUS_NAMES.items()}

ENDED = frozenset(
    {
        RunStatus.RUN_STATUS_SUCCEEDED,
        RunStatus.RUN_STATUS_FAILED,
        RunStatus.RUN_STATUS_CANCELLED,
        RunStatus.RUN_STATUS_TIMED_OUT,
    }
)


def run_json(run: Run) -> JsonObject:
    """Return a run; its tasks are those that the message holds."""
    return {
        "id": run.id,
        "crew": run.crew,
        "crew_version": run.crew_version,
        "status": STATUS_NAMES[run.status],
        "inputs": spliced(run.inputs_json, "{}"),
        "output": run.output if run.status == RunStatus.RUN_STATUS_SUCCEEDED else None,
        "output_partial": run.output_partial or None,
        "output_json": spliced(run.output_json, "null"),
        "error": _error_json(run),
        "attempt": run.attempt,
        "max_attempts": run.max_attempts,
        "failures": run.failures,
        "priority": run.priority,
        "timeout_seconds": run.timeout_seconds,
        "session_id": run.session_id or None,
        "turn": run.turn or None,
        "worker_id": run.worker_id or None,
        "created_by": run.created_by,
        "models": list(run.models),
        "budget": limit_json(run.budget) if run.HasField("budget") else None,
        "usage": {
            "prompt_tokens": run.usage.prompt_tokens,
            "completion_tokens": run.usage.completion_tokens,
            "total_tokens": run.usage.total_tokens,
            "model_calls": run.usage.model_calls,
            "cost_usd": usd(run.usage.cost_micros),
            "unpriced_calls": run.usage.unpriced_calls,
        },
        "tasks": [_task_json(task) for task in run.tasks],
        "retry_of": run.retry_of or None,
        "last_seq": run.last_seq,
        "created_at": rfc3339(run.created_at),
        "started_at": time_or_none(run, "started_at"),
        "finished_at": time_or_none(run, "finished_at"),
        "cancel_requested_at": time_or_none(run, "cancel_requested_at"),
        "webhook": _webhook_json(run),
    }


def limit_json(limit: BudgetLimit) -> JsonObject:
    """Return what may be spent."""
    return {
        "max_tokens": limit.max_tokens if limit.HasField("max_tokens") else None,
        "max_usd": usd(limit.max_micros) if limit.HasField("max_micros") else None,
    }


def usd(micros: int) -> float:
    """Return millionths of a US dollar as dollars."""
    return micros / MICROS


def rfc3339(moment: Timestamp) -> str:
    """Return a time in UTC with microseconds: 2026-11-23T06:39:00.000000Z."""
    return f"{_second(moment.seconds)}.{moment.nanos // 1000:06d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def time_or_none(message: Message, field: str) -> str | None:
    """Return a time, or None where the message has none."""
    return rfc3339(getattr(message, field)) if message.HasField(field) else None


def spliced(text: str, default: str) -> orjson.Fragment:
    """Return JSON text such that it is put in unparsed."""
    return orjson.Fragment(text or default)


def _error_json(run: Run) -> JsonObject | None:
    if not run.HasField("error"):
        return None
    return {"code": run.error.code, "message": run.error.message}


def _webhook_json(run: Run) -> JsonObject | None:
    """Return where the run is posted to and how that stands; never the secret."""
    if not run.HasField("webhook"):
        return None
    state = run.webhook
    return {
        "url": state.url,
        "status": state.status,
        "tries": state.tries,
        "last_status": state.last_status or None,
        "last_error": state.last_error or None,
        "next_try_at": time_or_none(state, "next_try_at"),
        "delivered_at": time_or_none(state, "delivered_at"),
    }


def _task_json(task: TaskState) -> JsonObject:
    return {
        "name": task.name,
        "agent": task.agent,
        "status": task.status,
        "output": task.output if task.status == "completed" else None,
        "started_at": time_or_none(task, "started_at"),
        "finished_at": time_or_none(task, "finished_at"),
    }
