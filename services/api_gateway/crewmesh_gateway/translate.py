"""From the mesh's messages to REST's JSON.

What is JSON already (inputs, payloads, schemas) goes in as it is, unparsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.common.permissions import permissions_of
from crewmesh.common.run_json import (
    ENDED,
    MICROS,
    STATUS_NAMES,
    STATUS_NUMBERS,
    JsonObject,
    limit_json,
    rfc3339,
    run_json,
    spliced,
    time_or_none,
    usd,
)
from crewmesh.v1.agent_pb2 import CrewVersion, RunSpec, Tool, Webhook
from crewmesh.v1.budget_pb2 import Budget, BudgetLimit, BudgetPeriod, UsageGroup
from crewmesh.v1.crew_pb2 import Crew, CrewSource
from crewmesh.v1.file_pb2 import Artifact, Dataset
from crewmesh.v1.identity_pb2 import ApiKey, Principal, User
from crewmesh.v1.limit_pb2 import Limits
from crewmesh.v1.run_pb2 import RunEvent
from crewmesh.v1.run_store_pb2 import Queue, Worker
from crewmesh.v1.session_pb2 import Session, SessionMessage
from crewmesh.v1.tenant_pb2 import Secret
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import dump_json

__all__ = [
    "ENDED",
    "SOURCE_NAMES",
    "STATUS_NAMES",
    "STATUS_NUMBERS",
    "api_key_json",
    "artifact_json",
    "crew_json",
    "crew_version_json",
    "dataset_json",
    "event_json",
    "limits_json",
    "principal_json",
    "rfc3339",
    "run_json",
    "tool_json",
    "user_json",
]

_SOURCE_PREFIX = "CREW_SOURCE_"
SOURCE_NAMES = {
    number: name.removeprefix(_SOURCE_PREFIX).lower() for name, number in CrewSource.items()
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


def session_json(session: Session) -> JsonObject:
    """Return a session."""
    return {
        "id": session.id,
        "crew": session.crew,
        "title": session.title,
        "inputs": spliced(session.inputs_json, "{}"),
        "created_by": session.created_by,
        "turns": session.turns,
        "open_turns": session.open_turns,
        "created_at": rfc3339(session.created_at),
        "updated_at": rfc3339(session.updated_at),
    }


def message_json(message: SessionMessage) -> JsonObject:
    """Return one message of a session."""
    return {
        "number": message.number,
        "role": message.role,
        "content": message.content,
        "run_id": message.run_id,
        "created_at": rfc3339(message.created_at),
    }


def crew_json(crew: Crew) -> JsonObject:
    """Return a crew with the schema of its inputs."""
    return {
        "name": crew.name,
        "description": crew.description,
        "version": crew.version,
        "kind": crew.kind or "crew",
        "error": crew.error or None,
        "inputs": spliced(crew.inputs_schema_json, "{}"),
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
        "source": SOURCE_NAMES[crew.source],
        "current_version": crew.current_version,
        "created_at": time_or_none(crew, "created_at"),
        "definition": spliced(crew.definition_json, "null"),
    }


def crew_version_json(version: CrewVersion) -> JsonObject:
    """Return what is known of one of a crew's versions."""
    return {
        "version": version.version,
        "current": version.current,
        "created_at": time_or_none(version, "created_at"),
        "created_by": version.created_by or None,
        "created_by_email": version.created_by_email or None,
    }


def tool_json(tool: Tool) -> JsonObject:
    """Return a tool with the schema of its arguments."""
    return {
        "name": tool.name,
        "description": tool.description,
        "arguments": spliced(tool.arguments_schema_json, "{}"),
        "side_effects": tool.side_effects,
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
        "last_used_at": time_or_none(api_key, "last_used_at"),
        "expires_at": time_or_none(api_key, "expires_at"),
        "revoked_at": time_or_none(api_key, "revoked_at"),
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
        "disabled_at": time_or_none(user, "disabled_at"),
        "last_sign_in_at": time_or_none(user, "last_sign_in_at"),
    }


def worker_json(worker: Worker) -> JsonObject:
    """Return what is known of a worker."""
    age = worker.lease_age.ToTimedelta().total_seconds() if worker.HasField("lease_age") else None
    return {
        "id": worker.id,
        "address": worker.address,
        "version": worker.version,
        "slots": worker.slots,
        "free_slots": worker.free_slots,
        "running": worker.running,
        "lease_age_seconds": age,
        "started_at": rfc3339(worker.started_at),
        "last_seen_at": rfc3339(worker.last_seen_at),
    }


def queue_json(queue: Queue) -> JsonObject:
    """Return how an organisation's runs stand."""
    return {
        "queued": queue.queued,
        "running": queue.running,
        "waiting": queue.waiting,
        "oldest_queued_at": time_or_none(queue, "oldest_queued_at"),
    }


def limits_json(limits: Limits) -> JsonObject:
    """Return what an organisation may use at once."""
    return {
        "max_running": limits.max_running if limits.HasField("max_running") else None,
        "max_queued": limits.max_queued,
        "max_requests_per_minute": limits.max_requests_per_minute
        if limits.HasField("max_requests_per_minute")
        else None,
        "crews": {limit.crew: limit.max_running for limit in limits.crews},
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
        "permissions": sorted(permissions_of(principal.role, tuple(principal.scopes))),
    }


def limit_proto(limit: schemas.BudgetLimit) -> BudgetLimit:
    """Return what may be spent, in the mesh's units."""
    micros = None if limit.max_usd is None else round(limit.max_usd * MICROS)
    return BudgetLimit(max_tokens=limit.max_tokens, max_micros=micros)


def spec_proto(body: schemas.StartRun, idempotency_key: str | None) -> RunSpec:
    """Return what to run."""
    webhook = body.webhook_or_none()
    return RunSpec(
        crew=body.crew,
        inputs_json=dump_json(body.inputs),
        session_id=body.session_id or "",
        priority=body.priority or 0,
        timeout_seconds=body.timeout_seconds or 0,
        max_attempts=body.max_attempts or 0,
        idempotency_key=idempotency_key or "",
        models=body.models,
        budget=limit_proto(body.budget) if body.budget is not None else None,
        webhook=Webhook(url=webhook.url, secret=webhook.secret) if webhook is not None else None,
    )


def budget_json(budget: Budget) -> JsonObject:
    """Return a budget with what is gone of it."""
    return {
        "api_key_id": budget.api_key_id or None,
        "period": BudgetPeriod.Name(budget.period).removeprefix("BUDGET_PERIOD_").lower(),
        **limit_json(budget.limit),
        # Of a total, there is none.
        "period_start": rfc3339(budget.period_start) if budget.period_start.seconds else None,
        "spent_tokens": budget.spent.tokens,
        "spent_usd": usd(budget.spent.micros),
        "reserved_tokens": budget.reserved.tokens,
        "reserved_usd": usd(budget.reserved.micros),
    }


def usage_group_json(group: UsageGroup, grouped_by: Sequence[str]) -> JsonObject:
    """Return what a group of model calls consumed; what it isn't grouped by is null."""
    return {
        **{n: getattr(group, n) if n in grouped_by else None for n in ("crew", "model", "day")},
        "model_calls": group.model_calls,
        "prompt_tokens": group.prompt_tokens,
        "completion_tokens": group.completion_tokens,
        "total_tokens": group.total_tokens,
        "cost_usd": usd(group.cost_micros),
        "unpriced_calls": group.unpriced_calls,
    }


def secret_json(secret: Secret) -> JsonObject:
    """Return what may be known of a secret."""
    return {
        "name": secret.name,
        "ending": secret.ending,
        "created_by": secret.created_by,
        "created_at": rfc3339(secret.created_at),
    }


def as_timestamp(moment: datetime | None) -> Timestamp | None:
    """Return a time as a message, if there is one."""
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
