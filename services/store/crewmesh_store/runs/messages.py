"""Rows to messages and back."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID

from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh_store.database import Row
from crewmesh_store.messages import duration, limit_from_row, parse_id, timestamp

TERMINAL_STATUSES = frozenset(
    {
        run_pb2.RUN_STATUS_SUCCEEDED,
        run_pb2.RUN_STATUS_FAILED,
        run_pb2.RUN_STATUS_CANCELLED,
        run_pb2.RUN_STATUS_TIMED_OUT,
    }
)

_STATUS_BY_NAME = {
    name.removeprefix("RUN_STATUS_").lower(): value for name, value in run_pb2.RunStatus.items()
}
_NAME_BY_STATUS = {value: name for name, value in _STATUS_BY_NAME.items()}


def status_name(status: run_pb2.RunStatus.ValueType) -> str | None:
    """Return the database's name of a status; None for UNSPECIFIED."""
    return _NAME_BY_STATUS[status] if status else None


def run_id(text: str) -> UUID:
    """Return the id of a run; what isn't a UUID names no run."""
    return parse_id(text, "run")


def run_from_row(row: Row) -> run_pb2.Run:
    """Return a row of `runs` as a message, without its tasks."""
    output, failed = row["output"] or "", row["status"] == "failed"
    error = None
    if row["error_code"] is not None:
        error = run_pb2.RunError(code=row["error_code"], message=row["error_message"] or "")
    return run_pb2.Run(
        id=str(row["id"]),
        org_id=str(row["org_id"]),
        crew=row["crew"],
        crew_version=row["crew_version"],
        status=_STATUS_BY_NAME[row["status"]],
        inputs_json=_as_text(row["inputs"]),
        output="" if failed else output,
        output_partial=output if failed else "",
        output_json=_as_text(row["output_json"]),
        error=error,
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        failures=row["failures"],
        priority=row["priority"],
        timeout_seconds=row["timeout_seconds"],
        session_id=row["session_id"] or "",
        turn=row["turn"] or 0,
        created_by=row["created_by"],
        worker_id=row["worker_id"] or "",
        usage=run_pb2.Usage(
            prompt_tokens=row["prompt_tokens"],
            completion_tokens=row["completion_tokens"],
            total_tokens=row["total_tokens"],
            model_calls=row["model_calls"],
            cost_micros=row["cost_micros"],
            unpriced_calls=row["unpriced_calls"],
        ),
        models=row["models"],
        budget=limit_from_row(row),
        retry_of=str(row["retry_of"] or ""),
        last_seq=row["last_seq"],
        created_at=timestamp(row["created_at"]),
        started_at=timestamp(row["started_at"]),
        finished_at=timestamp(row["finished_at"]),
        cancel_requested_at=timestamp(row["cancel_requested_at"]),
    )


def event_from_row(run: str, row: Row) -> run_pb2.RunEvent:
    """Return a row of `run_events` as a message."""
    return run_pb2.RunEvent(
        seq=row["seq"],
        run_id=run,
        at=timestamp(row["at"]),
        attempt=row["attempt"],
        type=row["type"],
        task=row["task"],
        agent=row["agent"],
        payload_json=row["payload"],
    )


def tasks_from_events(task_events_json: str | None) -> list[run_pb2.TaskState]:
    """Fold a run's task events into the state of each task that it has begun.

    They are a JSON array of `[type, task, agent, at, payload]`, oldest first, or None.
    """
    tasks: dict[int, run_pb2.TaskState] = {}
    for event_type, name, agent, at, payload in json.loads(task_events_json or "[]"):
        task = tasks.setdefault(payload["index"], run_pb2.TaskState())
        if event_type == "task.started":
            task.Clear()
            task.status = "running"
            task.started_at.FromDatetime(datetime.fromisoformat(at))
        else:
            task.status = "completed" if event_type == "task.completed" else "failed"
            task.output = payload.get("output", "")
            task.finished_at.FromDatetime(datetime.fromisoformat(at))
        task.name, task.agent = name, agent
    return [tasks[index] for index in sorted(tasks)]


def webhook_from_json(webhook_json: str) -> run_pb2.WebhookState:
    """Return the state of a run's webhook; `webhook_json` is an object of its columns."""
    columns = json.loads(webhook_json)
    moments = {name: columns.pop(name) for name in ("next_try_at", "delivered_at")}
    state = run_pb2.WebhookState(**columns)
    for name, moment in moments.items():
        if moment is not None:
            getattr(state, name).FromDatetime(datetime.fromisoformat(moment))
    return state


def worker_from_row(row: Row) -> run_store_pb2.Worker:
    """Return a row of `workers` as a message."""
    return run_store_pb2.Worker(
        id=row["id"],
        address=row["address"],
        version=row["version"],
        slots=row["slots"],
        free_slots=row["free_slots"],
        running=row["running"],
        started_at=timestamp(row["started_at"]),
        last_seen_at=timestamp(row["last_seen_at"]),
        lease_age=duration(row["lease_age"]),
    )


def queue_from_row(row: Row) -> run_store_pb2.Queue:
    """Return how an organisation's queue stands as a message."""
    return run_store_pb2.Queue(
        queued=row["queued"],
        running=row["running"],
        waiting=row["waiting"],
        oldest_queued_at=timestamp(row["oldest_queued_at"]),
    )


def _as_text(value: object) -> str:
    return "" if value is None else str(value)
