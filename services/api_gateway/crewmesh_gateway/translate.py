"""From the mesh's messages to REST's JSON.

What is JSON already (inputs, payloads, schemas) goes in as it is, unparsed.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import orjson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.v1.crew_pb2 import Crew
from crewmesh.v1.file_pb2 import Artifact, Dataset
from crewmesh.v1.identity_pb2 import ApiKey, Principal, User
from crewmesh.v1.run_pb2 import Run, RunEvent, RunStatus, TaskState

JsonObject = dict[str, Any]

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
        "inputs": _spliced(run.inputs_json, "{}"),
        "output": run.output if run.status == RunStatus.RUN_STATUS_SUCCEEDED else None,
        "output_json": _spliced(run.output_json, "null"),
        "error": _error_json(run),
        "attempt": run.attempt,
        "max_attempts": run.max_attempts,
        "failures": run.failures,
        "priority": run.priority,
        "timeout_seconds": run.timeout_seconds,
        "session_id": run.session_id or None,
        "worker_id": run.worker_id or None,
        "created_by": run.created_by,
        "usage": {
            "prompt_tokens": run.usage.prompt_tokens,
            "completion_tokens": run.usage.completion_tokens,
            "total_tokens": run.usage.total_tokens,
            "model_calls": run.usage.model_calls,
        },
        "tasks": [_task_json(task) for task in run.tasks],
        "last_seq": run.last_seq,
        "created_at": rfc3339(run.created_at),
        "started_at": _time_or_none(run, "started_at"),
        "finished_at": _time_or_none(run, "finished_at"),
        "cancel_requested_at": _time_or_none(run, "cancel_requested_at"),
    }


def event_json(event: RunEvent) -> JsonObject:
    """Return an event; its payload is spliced in on one line."""
    payload = event.payload_json or "{}"
    if "\n" in payload or "\r" in payload:
        # In JSON, line ends stand between tokens only.
        payload = payload.replace("\r", " ").replace("\n", " ")
    return {
        "seq": event.seq,
        "run_id": event.run_id,
        "at": rfc3339(event.at),
        "attempt": event.attempt,
        "type": event.type,
        "task": event.task or None,
        "agent": event.agent or None,
        "payload": orjson.Fragment(payload),
    }


def crew_json(crew: Crew) -> JsonObject:
    """Return a crew with the schema of its inputs."""
    return {
        "name": crew.name,
        "description": crew.description,
        "version": crew.version,
        "inputs": _spliced(crew.inputs_schema_json, "{}"),
        "agents": [
            {"role": agent.role, "goal": agent.goal, "tools": list(agent.tools)}
            for agent in crew.agents
        ],
        "tasks": [
            {
                "name": task.name,
                "description": task.description,
                "expected_output": task.expected_output,
                "agent": task.agent,
            }
            for task in crew.tasks
        ],
    }


def dataset_json(dataset: Dataset) -> JsonObject:
    """Return a dataset's metadata."""
    return {
        "id": dataset.id,
        "name": dataset.name,
        "media_type": dataset.media_type,
        "size_bytes": dataset.size_bytes,
        "sha256": dataset.sha256,
        "created_at": rfc3339(dataset.created_at),
    }


def artifact_json(artifact: Artifact) -> JsonObject:
    """Return an artifact's metadata and where its bytes are."""
    return {
        "id": artifact.id,
        "run_id": artifact.run_id,
        "name": artifact.name,
        "media_type": artifact.media_type,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "created_at": rfc3339(artifact.created_at),
        "url": f"/v1/artifacts/{artifact.id}",
    }


def api_key_json(api_key: ApiKey) -> JsonObject:
    """Return what may be known of an API key."""
    return {
        "id": api_key.id,
        "name": api_key.name,
        "prefix": api_key.prefix,
        "created_at": rfc3339(api_key.created_at),
        "last_used_at": _time_or_none(api_key, "last_used_at"),
        "expires_at": _time_or_none(api_key, "expires_at"),
        "revoked_at": _time_or_none(api_key, "revoked_at"),
        "scopes": list(api_key.scopes),
        "user_id": api_key.user_id,
    }


def user_json(user: User) -> JsonObject:
    """Return a user of the organisation."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "service_account": user.service_account,
        "created_at": rfc3339(user.created_at),
        "disabled_at": _time_or_none(user, "disabled_at"),
        "last_sign_in_at": _time_or_none(user, "last_sign_in_at"),
    }


def principal_json(principal: Principal) -> JsonObject:
    """Return who someone is, where they belong and by which key they came."""
    return {
        "user": {"id": principal.user_id, "email": principal.email},
        "org": {"id": principal.org_id, "name": principal.org_name},
        "role": principal.role,
        "key": {"id": principal.api_key_id, "scopes": list(principal.scopes)}
        if principal.api_key_id
        else None,
    }


def rfc3339(moment: Timestamp) -> str:
    """Return a time in UTC with microseconds: 2026-11-23T06:39:00.000000Z."""
    return f"{_second(moment.seconds)}.{moment.nanos // 1000:06d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _time_or_none(message: Message, field: str) -> str | None:
    return rfc3339(getattr(message, field)) if message.HasField(field) else None


def _spliced(text: str, default: str) -> orjson.Fragment:
    return orjson.Fragment(text or default)


def _error_json(run: Run) -> JsonObject | None:
    if not run.HasField("error"):
        return None
    return {"code": run.error.code, "message": run.error.message}


def _task_json(task: TaskState) -> JsonObject:
    return {
        "name": task.name,
        "agent": task.agent,
        "status": task.status,
        "output": task.output if task.status == "completed" else None,
        "started_at": _time_or_none(task, "started_at"),
        "finished_at": _time_or_none(task, "finished_at"),
    }
