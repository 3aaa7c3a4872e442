"""What can be asked, done and followed."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict
from datetime import datetime

import strawberry
from graphql import GraphQLError
from strawberry.extensions import DisableIntrospection, SchemaExtension
from strawberry.scalars import JSON
from strawberry.types import ExecutionContext

from crewmesh.v1.agent_pb2 import (
    CancelRunRequest,
    CrewFormat,
    DeleteCrewRequest,
    GetCrewRequest,
    GetRunRequest,
    ListCrewsRequest,
    ListCrewVersionsRequest,
    ListRunsRequest,
    PutCrewRequest,
    RespondToRunRequest,
    RetryRunRequest,
    RollbackCrewRequest,
    StartRunRequest,
)
from crewmesh.v1.identity_pb2 import (
    CreateApiKeyRequest,
    ListApiKeysRequest,
    ListUsersRequest,
    RevokeApiKeyRequest,
    UpdateUserRequest,
)
from crewmesh.v1.run_pb2 import RunStatus
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import dump_json
from crewmesh_gateway.graphql.arguments import (
    Budget,
    OneVersion,
    Page,
    Repeatable,
    RunFilters,
    Waiting,
    Webhook,
    checked,
    checked_id,
)
from crewmesh_gateway.graphql.context import GraphInfo
from crewmesh_gateway.graphql.errors import name_error
from crewmesh_gateway.graphql.limits import DEFAULT_LIMITS, RateLimit, SizeLimit
from crewmesh_gateway.graphql.organisation import OrganisationQuery
from crewmesh_gateway.graphql.settings import GraphqlLimits
from crewmesh_gateway.graphql.types import (
    ApiKey,
    CreatedApiKey,
    Crew,
    CrewVersion,
    Limit,
    PageOf,
    Run,
    RunEvent,
    User,
)
from crewmesh_gateway.translate import STATUS_NUMBERS, as_timestamp, spec_proto
from crewmesh_gateway.waiting import wait_for_end
from crewmesh_gateway.watch import RunWatch

# A socket says so often that it lives; a watch that is silent looks for its end.
_SILENCE_SECONDS = 15.0


@strawberry.type
class Query(OrganisationQuery):
    """What can be asked."""

    @strawberry.field(description="The crews, by name.")
    async def crews(
        self,
        info: GraphInfo,
        limit: Limit = DEFAULT_LIMITS["crews"],
        cursor: str | None = None,
    ) -> PageOf[Crew]:
        """Return a page of crews."""
        mesh = info.context.mesh
        page = checked(Page, limit=limit, cursor=cursor)
        request = ListCrewsRequest(page_size=page.limit, page_token=page.cursor or "")
        answer = await mesh.call(mesh.mesh.agents.ListCrews, request)
        return PageOf.of([Crew.of(crew) for crew in answer.crews], answer.next_page_token)

    @strawberry.field(description="A crew with its definition, by default as it is now.")
    async def crew(self, info: GraphInfo, name: str, version: str | None = None) -> Crew:
        """Return a crew in one of its versions."""
        mesh = info.context.mesh
        asked = checked(OneVersion, version=version)
        request = GetCrewRequest(name=name, version=asked.version or "")
        return Crew.of((await mesh.call(mesh.mesh.agents.GetCrew, request)).crew)

    @strawberry.field(description="A crew's versions, newest first.")
    async def crew_versions(
        self,
        info: GraphInfo,
        name: str,
        limit: Limit = DEFAULT_LIMITS["crewVersions"],
        cursor: str | None = None,
    ) -> PageOf[CrewVersion]:
        """Return a page of a crew's versions."""
        mesh = info.context.mesh
        page = checked(Page, limit=limit, cursor=cursor)
        request = ListCrewVersionsRequest(
            name=name, page_size=page.limit, page_token=page.cursor or ""
        )
        answer = await mesh.call(mesh.mesh.agents.ListCrewVersions, request)
        return PageOf.of(
            [CrewVersion.of(version) for version in answer.versions], answer.next_page_token
        )

    @strawberry.field(description="Runs that pass the filters, newest first.")
    async def runs(
        self,
        info: GraphInfo,
        limit: Limit = DEFAULT_LIMITS["runs"],
        cursor: str | None = None,
        status: str | None = None,
        crew: str | None = None,
        session_id: str | None = None,
        text: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        webhook: str | None = None,
        created_by: str | None = None,
    ) -> PageOf[Run]:
        """Return a page of runs."""
        mesh = info.context.mesh
        asked = checked(
            RunFilters,
            limit=limit,
            cursor=cursor,
            status=status,
            crew=crew,
            session_id=session_id,
            text=text,
            created_after=created_after,
            created_before=created_before,
            webhook=webhook,
            created_by=created_by,
        )
        request = ListRunsRequest(
            page_size=asked.limit,
            page_token=asked.cursor or "",
            status=STATUS_NUMBERS[asked.status]
            if asked.status
            else RunStatus.RUN_STATUS_UNSPECIFIED,
            crew=asked.crew or "",
            session_id=asked.session_id or "",
            text=(asked.text or "").strip(),
            created_after=as_timestamp(asked.created_after),
            created_before=as_timestamp(asked.created_before),
            webhook=asked.webhook or "",
            created_by=asked.created_by or "",
        )
        answer = await mesh.call(mesh.mesh.agents.ListRuns, request)
        return PageOf.of([Run.of(run) for run in answer.runs], answer.next_page_token)

    @strawberry.field(description="A run.")
    async def run(self, info: GraphInfo, id: strawberry.ID) -> Run:  # noqa: A002 - the schema's name
        """Return a run."""
        mesh = info.context.mesh
        answer = await mesh.call(mesh.mesh.agents.GetRun, GetRunRequest(run_id=checked_id(id)))
        return Run.of(answer.run)

    @strawberry.field(description="People and service accounts, newest first.")
    async def users(
        self,
        info: GraphInfo,
        limit: Limit = DEFAULT_LIMITS["users"],
        cursor: str | None = None,
    ) -> PageOf[User]:
        """Return a page of the organisation's users."""
        mesh = info.context.mesh
        page = checked(Page, limit=limit, cursor=cursor)
        request = ListUsersRequest(page_size=page.limit, page_token=page.cursor or "")
        answer = await mesh.call(mesh.mesh.identities.ListUsers, request)
        return PageOf.of([User.of(user) for user in answer.users], answer.next_page_token)

    @strawberry.field(description="Your API keys, and everybody's where you may manage them.")
    async def api_keys(self, info: GraphInfo) -> list[ApiKey]:
        """Return the keys, revoked ones too."""
        mesh = info.context.mesh
        answer = await mesh.call(mesh.mesh.identities.ListApiKeys, ListApiKeysRequest())
        return [ApiKey.of(key) for key in answer.api_keys]


@strawberry.type
class Mutation:
    """What can be done."""

    @strawberry.mutation(
        description="Start a run; with a key, once however often it is sent. What is left out "
        "takes the mesh's defaults. With `wait`, the answer comes when the run has ended, or "
        "after so many seconds."
    )
    async def start_run(
        self,
        info: GraphInfo,
        crew: str,
        inputs: JSON | None = None,
        idempotency_key: str | None = None,
        session_id: str | None = None,
        timeout_seconds: int | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        models: list[str] | None = None,
        budget: Budget | None = None,
        webhook: Webhook | None = None,
        wait: float = 0,
    ) -> Run:
        """Start a run."""
        mesh = info.context.mesh
        body = checked(
            schemas.StartRun,
            crew=crew,
            inputs=inputs,
            session_id=session_id,
            timeout_seconds=timeout_seconds,
            priority=priority,
            max_attempts=max_attempts,
            models=models,
            budget=asdict(budget) if budget is not None else None,
            # By itself, since REST takes a plain address, too, and would tell of both forms' faults.
            webhook=checked(schemas.Webhook, ("webhook",), **asdict(webhook)) if webhook else None,
        )
        key = checked(Repeatable, idempotency_key=idempotency_key).idempotency_key
        give_up_at = time.monotonic() + checked(Waiting, wait=wait).wait
        request = StartRunRequest(spec=spec_proto(body, key))
        answer = await mesh.call(mesh.mesh.agents.StartRun, request, repeatable=bool(key))
        return Run.of(await wait_for_end(mesh, answer.run, give_up_at))

    @strawberry.mutation(description="Ask for a run to be cancelled; harmless when it has ended.")
    async def cancel_run(self, info: GraphInfo, id: strawberry.ID, reason: str = "") -> Run:  # noqa: A002
        """Cancel a run."""
        mesh = info.context.mesh
        body = checked(schemas.CancelRun, reason=reason)
        request = CancelRunRequest(run_id=checked_id(id), reason=body.reason)
        return Run.of((await mesh.call(mesh.mesh.agents.CancelRun, request)).run)

    @strawberry.mutation(description="Start another run of what a run that has ended was asked.")
    async def retry_run(
        self,
        info: GraphInfo,
        id: strawberry.ID,  # noqa: A002
        idempotency_key: str | None = None,
    ) -> Run:
        """Retry a run."""
        mesh = info.context.mesh
        key = checked(Repeatable, idempotency_key=idempotency_key).idempotency_key
        request = RetryRunRequest(run_id=checked_id(id), idempotency_key=key or "")
        answer = await mesh.call(mesh.mesh.agents.RetryRun, request, repeatable=bool(key))
        return Run.of(answer.run)

    @strawberry.mutation(description="Answer a run that waits; `question` is the event's `seq`.")
    async def answer_run(
        self,
        info: GraphInfo,
        id: strawberry.ID,  # noqa: A002
        text: str,
        approve: bool | None = None,
        question: int | None = None,
    ) -> Run:
        """Answer a run."""
        mesh = info.context.mesh
        body = checked(schemas.RespondToRun, text=text, approve=approve, question=question)
        request = RespondToRunRequest(
            run_id=checked_id(id),
            text=body.text,
            approve=body.approve,
            question_seq=body.question or 0,
        )
        # As for REST: only an answer to one question may be sent again.
        answer = await mesh.call(
            mesh.mesh.agents.RespondToRun, request, repeatable=body.question is not None
        )
        return Run.of(answer.run)

    @strawberry.mutation(description="Bring a crew, or the next version of one.")
    async def put_crew(self, info: GraphInfo, name: str, definition: JSON) -> Crew:
        """Bring a crew."""
        mesh = info.context.mesh
        request = PutCrewRequest(
            name=name,
            content=dump_json(definition).encode(),
            format=CrewFormat.CREW_FORMAT_JSON,
        )
        return Crew.of((await mesh.call(mesh.mesh.agents.PutCrew, request)).crew)

    @strawberry.mutation(description="Make a version the current one.")
    async def roll_back_crew(self, info: GraphInfo, name: str, version: str) -> Crew:
        """Roll a crew back."""
        mesh = info.context.mesh
        request = RollbackCrewRequest(name=name, version=version)
        return Crew.of((await mesh.call(mesh.mesh.agents.RollbackCrew, request)).crew)

    @strawberry.mutation(description="Remove a crew; runs of it that were accepted go on.")
    async def delete_crew(self, info: GraphInfo, name: str) -> bool:
        """Delete a crew."""
        mesh = info.context.mesh
        await mesh.call(mesh.mesh.agents.DeleteCrew, DeleteCrewRequest(name=name))
        return True

    @strawberry.mutation(description="Create an API key of yours, or of a service account.")
    async def create_api_key(
        self,
        info: GraphInfo,
        name: str,
        scopes: list[str] | None = None,
        user_id: strawberry.ID | None = None,
        expires_at: datetime | None = None,
    ) -> CreatedApiKey:
        """Create a key."""
        mesh = info.context.mesh
        body = checked(
            schemas.CreateApiKey, name=name, scopes=scopes, user_id=user_id, expires_at=expires_at
        )
        request = CreateApiKeyRequest(
            name=body.name,
            scopes=body.scopes,
            expires_at=as_timestamp(body.expires_at),
            user_id=body.user_id or "",
        )
        answer = await mesh.call(mesh.mesh.identities.CreateApiKey, request)
        return CreatedApiKey(key=ApiKey.of(answer.api_key), secret=answer.secret)

    @strawberry.mutation(description="Revoke an API key, at once and for good.")
    async def revoke_api_key(self, info: GraphInfo, id: strawberry.ID) -> bool:  # noqa: A002
        """Revoke a key."""
        mesh = info.context.mesh
        key_id = checked_id(id)
        await mesh.call(mesh.mesh.identities.RevokeApiKey, RevokeApiKeyRequest(id=key_id))
        mesh.gateway.authenticator.forget(lambda principal: principal.api_key_id == key_id)
        return True

    @strawberry.mutation(description="Give a user another name.")
    async def rename_user(self, info: GraphInfo, id: strawberry.ID, name: str) -> User:  # noqa: A002
        """Rename a user."""
        mesh = info.context.mesh
        body = checked(schemas.UpdateUser, name=name)
        request = UpdateUserRequest(id=checked_id(id), name=body.name)
        return User.of((await mesh.call(mesh.mesh.identities.UpdateUser, request)).user)


@strawberry.type
class Subscription:
    """What can be followed."""

    @strawberry.subscription(
        description="A run's events after a number, each once, to the one that ends it. To go on "
        "after a break, give the last `seq` that you saw."
    )
    async def run_events(
        self,
        info: GraphInfo,
        id: strawberry.ID,  # noqa: A002
        after: int = 0,
    ) -> AsyncGenerator[RunEvent, None]:
        """Follow a run."""
        mesh = info.context.mesh
        watch = RunWatch(mesh, checked_id(id), max(0, after))
        with mesh.gateway.metrics.open_subscriptions.track_inprogress():
            try:
                if not await watch.open():
                    return
                while (batch := await watch.next_batch(_SILENCE_SECONDS)) is not None:
                    for event in batch:
                        yield RunEvent.of(event)
            finally:
                await watch.close()


class _Schema(strawberry.Schema):
    """Tells errors as REST does."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Name the errors of an answer; their log line is the gateway's own."""
        context = execution_context.context if execution_context is not None else None
        for error in errors:
            name_error(error, context.mesh.request_id if context is not None else "")


def create_schema(limits: GraphqlLimits) -> strawberry.Schema:
    """Return the schema with its limits."""
    extensions: list[type[SchemaExtension] | Callable[[], SchemaExtension]] = [
        RateLimit,
        lambda: SizeLimit(
            max_tokens=limits.max_tokens, max_depth=limits.max_depth, max_cost=limits.max_cost
        ),
    ]
    if not limits.introspection:
        extensions.append(DisableIntrospection)
    return _Schema(Query, Mutation, Subscription, extensions=extensions)
