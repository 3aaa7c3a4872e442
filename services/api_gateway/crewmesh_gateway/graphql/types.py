"""The types of the schema, made from the mesh's messages."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import strawberry
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from strawberry.scalars import JSON

from crewmesh.common.run_json import run_json
from crewmesh.v1.agent_pb2 import CrewVersion as VersionMessage
from crewmesh.v1.crew_pb2 import Crew as CrewMessage
from crewmesh.v1.file_pb2 import Artifact as ArtifactMessage
from crewmesh.v1.identity_pb2 import ApiKey as ApiKeyMessage
from crewmesh.v1.identity_pb2 import User as UserMessage
from crewmesh.v1.run_pb2 import Run as RunMessage
from crewmesh.v1.run_pb2 import RunEvent as EventMessage
from crewmesh.v1.run_pb2 import WebhookState as WebhookMessage
from crewmesh_gateway.graphql.arguments import Page, checked
from crewmesh_gateway.graphql.context import GraphInfo
from crewmesh_gateway.graphql.limits import DEFAULT_LIMITS
from crewmesh_gateway.translate import (
    STATUS_NAMES,
    api_key_json,
    crew_json,
    crew_version_json,
    event_json,
    user_json,
)

Item = TypeVar("Item")

Limit = Annotated[int, strawberry.argument(description="How many at most, 1 to 200.")]


def checked_limit(limit: int) -> int:
    """Return how many a list holds; raise InvalidInputError out of bounds."""
    return checked(Page, limit=limit).limit


def as_json(text: str, default: str = "null") -> Any:
    """Return the value of a message's JSON text."""
    return json.loads(text or default)


def moment_of(message: Message, name: str) -> datetime | None:
    """Return a message's time, or None where it has none."""
    return time_of(getattr(message, name)) if message.HasField(name) else None


def time_of(timestamp: Timestamp) -> datetime:
    """Return a time in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)


@strawberry.type(name="Page", description="One page; `nextCursor` is null on the last one.")
class PageOf(Generic[Item]):
    """A page of a list, named after what it has: `RunPage`."""

    items: list[Item]
    next_cursor: str | None

    @classmethod
    def of(cls, items: list[Item], next_page_token: str) -> PageOf[Item]:
        """Return a page as the mesh's lists end."""
        return cls(items=items, next_cursor=next_page_token or None)


@strawberry.type(description="One entry of a run's log; `seq` is 1, 2, 3, ... without a gap.")
class RunEvent:
    """An event."""

    seq: int
    run_id: strawberry.ID
    at: datetime
    attempt: int
    type: str
    task: str | None
    agent: str | None
    payload: JSON

    @classmethod
    def of(cls, event: EventMessage) -> RunEvent:
        """Return a message as the schema has it."""
        told = event_json(event)
        told |= {"at": time_of(event.at), "payload": as_json(event.payload_json, "{}")}
        return cls(**told)

    @strawberry.field(description="What it tells of, where that is a file: `artifact.created`.")
    async def artifact(self, info: GraphInfo) -> Artifact | None:
        """Return the artifacts of all events of this level by one call."""
        if self.type != "artifact.created":
            return None
        payload: Any = self.payload
        made = await info.context.loaders.artifacts.load(self.run_id)
        return next((Artifact.of(each) for each in made if each.id == payload["id"]), None)


@strawberry.type(description="A file that a run made; `url` is REST's, with the same credential.")
class Artifact:
    """An artifact."""

    id: strawberry.ID
    run_id: strawberry.ID
    name: str
    media_type: str
    size_bytes: float
    sha256: str
    created_at: datetime
    url: str

    @classmethod
    def of(cls, artifact: ArtifactMessage) -> Artifact:
        """Return a message as the schema has it."""
        return cls(
            id=strawberry.ID(artifact.id),
            run_id=strawberry.ID(artifact.run_id),
            name=artifact.name,
            media_type=artifact.media_type,
            size_bytes=artifact.size_bytes,
            sha256=artifact.sha256,
            created_at=time_of(artifact.created_at),
            url=f"/v1/artifacts/{artifact.id}",
        )


@strawberry.type(description="One of a run's tasks, with its own events and artifacts.")
class Task:
    """A task."""

    name: str
    agent: str
    status: str
    output: str | None
    started_at: datetime | None
    finished_at: datetime | None
    run_id: strawberry.Private[str]

    @strawberry.field(description="Its own events after a number, in their order.")
    async def events(
        self, info: GraphInfo, after: int = 0, limit: Limit = DEFAULT_LIMITS["events"]
    ) -> list[RunEvent]:
        """Return the events of all tasks of this level by one call."""
        key = ((self.run_id, self.name), max(0, after), checked_limit(limit))
        return [RunEvent.of(event) for event in await info.context.loaders.task_events.load(key)]

    @strawberry.field(description="What it has made so far.")
    async def artifacts(self, info: GraphInfo) -> list[Artifact]:
        """Return the artifacts of all tasks of this level by two calls."""
        loaders = info.context.loaders
        made, makers = await asyncio.gather(
            loaders.artifacts.load(self.run_id), loaders.makers.load(self.run_id)
        )
        return [Artifact.of(each) for each in made if makers.get(each.id) == self.name]


@strawberry.type(description="What a run's model calls consumed.")
class Usage:
    """Tokens and cost."""

    prompt_tokens: float
    completion_tokens: float
    total_tokens: float
    model_calls: int
    cost_usd: float
    unpriced_calls: int


@strawberry.type(description="Why a run did not succeed.")
class RunError:
    """An error's code and message."""

    code: str
    message: str


@strawberry.type(description="What may be spent; null for no such limit.")
class SpendingLimit:
    """A limit of tokens, US dollars or both."""

    max_tokens: float | None
    max_usd: float | None


@strawberry.type(description="How a run's webhook stands; `failed` was given up.")
class WebhookState:
    """Where the run is, or was, posted to."""

    url: str
    status: str
    tries: int
    last_status: int | None
    last_error: str | None
    next_try_at: datetime | None
    delivered_at: datetime | None

    @classmethod
    def of(cls, state: WebhookMessage) -> WebhookState:
        """Return a message as the schema has it."""
        return cls(
            url=state.url,
            status=state.status,
            tries=state.tries,
            last_status=state.last_status or None,
            last_error=state.last_error or None,
            next_try_at=moment_of(state, "next_try_at"),
            delivered_at=moment_of(state, "delivered_at"),
        )


@strawberry.type(description="One execution of a crew.")
class Run:
    """A run."""

    id: strawberry.ID
    crew: str
    crew_version: str
    status: str
    inputs: JSON
    output: str | None
    output_partial: str | None
    output_json: JSON | None
    error: RunError | None
    attempt: int
    max_attempts: int
    failures: int
    priority: int
    timeout_seconds: int
    session_id: str | None
    turn: int | None
    worker_id: str | None
    created_by: str
    models: list[str]
    budget: SpendingLimit | None
    usage: Usage
    last_seq: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    retry_of: str | None

    @classmethod
    def of(cls, run: RunMessage) -> Run:
        """Return a message as the schema has it."""
        told = run_json(run)
        error = told["error"]
        return cls(
            **{name: told[name] for name in _PLAIN},
            status=STATUS_NAMES[run.status],
            inputs=as_json(run.inputs_json, "{}"),
            output_json=as_json(run.output_json),
            error=RunError(**error) if error else None,
            budget=SpendingLimit(**told["budget"]) if told["budget"] else None,
            usage=Usage(**told["usage"]),
            created_at=time_of(run.created_at),
            started_at=moment_of(run, "started_at"),
            finished_at=moment_of(run, "finished_at"),
            cancel_requested_at=moment_of(run, "cancel_requested_at"),
        )

    @strawberry.field(
        description="Its crew as it is now, without the definition; null once it is removed."
    )
    async def crew_definition(self, info: GraphInfo) -> Crew | None:
        """Return the crews of all runs of this level by one call for 200 crews that there are."""
        crew = await info.context.loaders.crews.load(self.crew)
        return Crew.of(crew) if crew is not None else None

    @strawberry.field(description="Its tasks, with their state.")
    async def tasks(self, info: GraphInfo) -> list[Task]:
        """Return the tasks of all runs of this level by one call."""
        run = await info.context.loaders.runs.load(self.id)
        return [
            Task(**_task(task), run_id=self.id)
            for task in (run_json(run)["tasks"] if run is not None else ())
        ]

    @strawberry.field(description="How its webhook stands; null without one.")
    async def webhook(self, info: GraphInfo) -> WebhookState | None:
        """Return the webhooks of all runs of this level by one call, that for their tasks."""
        run = await info.context.loaders.runs.load(self.id)
        if run is None or not run.HasField("webhook"):
            return None
        return WebhookState.of(run.webhook)

    @strawberry.field(description="Its events after a number, in their order.")
    async def events(
        self, info: GraphInfo, after: int = 0, limit: Limit = DEFAULT_LIMITS["events"]
    ) -> list[RunEvent]:
        """Return the events of all runs of this level by one call."""
        key = (self.id, max(0, after), checked_limit(limit))
        return [RunEvent.of(event) for event in await info.context.loaders.events.load(key)]

    @strawberry.field(description="What it has made so far.")
    async def artifacts(self, info: GraphInfo) -> list[Artifact]:
        """Return the artifacts of all runs of this level by one call."""
        return [Artifact.of(each) for each in await info.context.loaders.artifacts.load(self.id)]


_PLAIN = (
    *("id", "crew", "crew_version", "output", "output_partial", "attempt", "max_attempts"),
    *("failures", "priority", "timeout_seconds", "session_id", "turn", "worker_id", "created_by"),
    *("models", "last_seq", "retry_of"),
)


def _task(told: dict[str, Any]) -> dict[str, Any]:
    times = {
        name: datetime.fromisoformat(told[name]) if told[name] else None
        for name in ("started_at", "finished_at")
    }
    return {**told, **times}


@strawberry.type(description="An agent of a crew.")
class CrewAgent:
    """An agent."""

    role: str
    goal: str
    tools: list[str]


@strawberry.type(description="A task of a crew; its agent is empty where a manager decides.")
class CrewTask:
    """A task."""

    name: str
    description: str
    expected_output: str
    agent: str


@strawberry.type(description="One of a crew's versions, which never change.")
class CrewVersion:
    """A version."""

    version: str
    current: bool
    created_at: datetime | None
    created_by: str | None
    created_by_email: str | None

    @classmethod
    def of(cls, version: VersionMessage) -> CrewVersion:
        """Return a message as the schema has it."""
        told = crew_version_json(version)
        return cls(**told | {"created_at": moment_of(version, "created_at")})


@strawberry.type(
    description="What can be run, in one of its versions; `definition` is null in lists."
)
class Crew:
    """A crew."""

    name: str
    description: str
    version: str
    current_version: str
    kind: str
    error: str | None
    source: str
    inputs: JSON
    agents: list[CrewAgent]
    tasks: list[CrewTask]
    definition: JSON | None
    created_at: datetime | None

    @classmethod
    def of(cls, crew: CrewMessage) -> Crew:
        """Return a message as the schema has it."""
        told = crew_json(crew)
        names = ("name", "description", "version", "current_version", "kind", "error", "source")
        return cls(
            **{name: told[name] for name in names},
            inputs=as_json(crew.inputs_schema_json, "{}"),
            agents=[CrewAgent(**agent) for agent in told["agents"]],
            tasks=[CrewTask(**task) for task in told["tasks"]],
            definition=as_json(crew.definition_json),
            created_at=moment_of(crew, "created_at"),
        )

    @strawberry.field(description="Its newest runs.")
    async def runs(self, info: GraphInfo, limit: Limit = DEFAULT_LIMITS["runs"]) -> list[Run]:
        """Return the runs of all crews of this level by one call."""
        loaded = await info.context.loaders.runs_of_crews.load((self.name, checked_limit(limit)))
        return [Run.of(run) for run in loaded]


@strawberry.type(description="A person or a service account.")
class User:
    """A member of the organisation."""

    id: strawberry.ID
    email: str
    name: str
    role: str
    service_account: bool
    created_at: datetime
    disabled_at: datetime | None
    last_sign_in_at: datetime | None

    @classmethod
    def of(cls, user: UserMessage) -> User:
        """Return a message as the schema has it."""
        told = user_json(user)
        names = ("id", "email", "name", "role", "service_account")
        return cls(
            **{name: told[name] for name in names},
            created_at=time_of(user.created_at),
            disabled_at=moment_of(user, "disabled_at"),
            last_sign_in_at=moment_of(user, "last_sign_in_at"),
        )


@strawberry.type(description="An API key without its secret.")
class ApiKey:
    """An API key."""

    id: strawberry.ID
    name: str
    prefix: str
    scopes: list[str]
    user_id: strawberry.ID
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKeyMessage) -> ApiKey:
        """Return a message as the schema has it."""
        told = api_key_json(key)
        return cls(
            **{name: told[name] for name in ("id", "name", "prefix", "scopes", "user_id")},
            created_at=time_of(key.created_at),
            last_used_at=moment_of(key, "last_used_at"),
            expires_at=moment_of(key, "expires_at"),
            revoked_at=moment_of(key, "revoked_at"),
        )


@strawberry.type(description="A new API key; the secret is shown this once.")
class CreatedApiKey:
    """A key with its secret."""

    key: ApiKey
    secret: str
