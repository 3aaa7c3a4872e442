"""Who asks, and what is their organisation's besides crews and runs."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry.scalars import JSON

from crewmesh.v1.budget_pb2 import Budget as BudgetMessage
from crewmesh.v1.budget_pb2 import GetUsageRequest, ListBudgetsRequest
from crewmesh.v1.file_pb2 import Dataset as DatasetMessage
from crewmesh.v1.file_pb2 import GetDatasetRequest, ListDatasetsRequest
from crewmesh.v1.identity_pb2 import Principal
from crewmesh.v1.run_store_pb2 import ListWorkersRequest, ListWorkersResponse
from crewmesh.v1.session_pb2 import GetSessionRequest, ListSessionsRequest
from crewmesh.v1.session_pb2 import Session as SessionMessage
from crewmesh_gateway.graphql.arguments import Page, Period, SessionFilters, checked, checked_id
from crewmesh_gateway.graphql.context import GraphInfo
from crewmesh_gateway.graphql.limits import DEFAULT_LIMITS
from crewmesh_gateway.graphql.types import Limit, PageOf, as_json, moment_of, time_of
from crewmesh_gateway.translate import (
    as_timestamp,
    budget_json,
    dataset_json,
    principal_json,
    queue_json,
    session_json,
    usage_group_json,
    worker_json,
)


@strawberry.type(description="Who asks, by which API key, and what that permits.")
class Me:
    """The caller; without a key, they came by a sign-in."""

    user_id: strawberry.ID
    email: str
    org_id: strawberry.ID
    org_name: str
    role: str
    api_key_id: strawberry.ID | None
    scopes: list[str]
    permissions: list[str]

    @classmethod
    def of(cls, principal: Principal) -> Me:
        """Return a message as the schema has it."""
        return cls(
            user_id=strawberry.ID(principal.user_id),
            email=principal.email,
            org_id=strawberry.ID(principal.org_id),
            org_name=principal.org_name,
            role=principal.role,
            api_key_id=strawberry.ID(principal.api_key_id) if principal.api_key_id else None,
            scopes=list(principal.scopes),
            permissions=principal_json(principal)["permissions"],
        )


@strawberry.type(description="A worker that is attached, or fell silent less than a minute ago.")
class Worker:
    """A worker."""

    id: strawberry.ID
    address: str
    version: str
    slots: int
    free_slots: int
    running: int
    lease_age_seconds: float | None
    started_at: datetime
    last_seen_at: datetime


@strawberry.type(description="How your organisation's runs stand.")
class Queue:
    """Numbers of runs."""

    queued: int
    running: int
    waiting: int
    oldest_queued_at: datetime | None


@strawberry.type(description="The workers, and what waits for them.")
class Fleet:
    """The fleet."""

    items: list[Worker]
    queue: Queue
    lease_seconds: float

    @classmethod
    def of(cls, answer: ListWorkersResponse) -> Fleet:
        """Return a message as the schema has it."""
        return cls(
            items=[
                Worker(
                    **worker_json(worker)
                    | {
                        "started_at": time_of(worker.started_at),
                        "last_seen_at": time_of(worker.last_seen_at),
                    }
                )
                for worker in answer.workers
            ],
            queue=Queue(
                **queue_json(answer.queue)
                | {"oldest_queued_at": moment_of(answer.queue, "oldest_queued_at")}
            ),
            lease_seconds=answer.lease_ttl.ToTimedelta().total_seconds(),
        )


@strawberry.type(description="A conversation with a crew.")
class Session:
    """A conversation."""

    id: strawberry.ID
    crew: str
    title: str
    inputs: JSON
    created_by: str
    turns: int
    open_turns: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, session: SessionMessage) -> Session:
        """Return a message as the schema has it."""
        return cls(
            **session_json(session)
            | {
                "inputs": as_json(session.inputs_json, "{}"),
                "created_at": time_of(session.created_at),
                "updated_at": time_of(session.updated_at),
            }
        )


@strawberry.type(description="Uploaded data; its bytes are at REST's `/v1/datasets/ID/content`.")
class Dataset:
    """A dataset."""

    id: strawberry.ID
    name: str
    media_type: str
    size_bytes: float
    sha256: str
    created_at: datetime

    @classmethod
    def of(cls, dataset: DatasetMessage) -> Dataset:
        """Return a message as the schema has it."""
        return cls(**dataset_json(dataset) | {"created_at": time_of(dataset.created_at)})


@strawberry.type(description="What may be spent in a period, and what is gone of it.")
class BudgetState:
    """A budget of the organisation, or of an API key."""

    api_key_id: strawberry.ID | None
    period: str
    max_tokens: float | None
    max_usd: float | None
    period_start: datetime | None
    spent_tokens: float
    spent_usd: float
    reserved_tokens: float
    reserved_usd: float

    @classmethod
    def of(cls, budget: BudgetMessage) -> BudgetState:
        """Return a message as the schema has it."""
        told = budget_json(budget)
        # Of a total, there is none.
        start = time_of(budget.period_start) if told["period_start"] else None
        return cls(**told | {"period_start": start})


@strawberry.type(description="What model calls consumed; what it isn't grouped by is null.")
class UsageGroup:
    """Tokens and cost of a group of model calls."""

    crew: str | None
    model: str | None
    day: str | None
    model_calls: float
    prompt_tokens: float
    completion_tokens: float
    total_tokens: float
    cost_usd: float
    unpriced_calls: float


@strawberry.type
class OrganisationQuery:
    """What can be asked of the organisation."""

    @strawberry.field(description="Who asks, and what they may do.")
    async def me(self, info: GraphInfo) -> Me:
        """Return the caller."""
        return Me.of(info.context.mesh.caller.principal)

    @strawberry.field(description="The attached workers, and your queue.")
    async def workers(self, info: GraphInfo) -> Fleet:
        """Return the fleet."""
        mesh = info.context.mesh
        return Fleet.of(await mesh.call(mesh.mesh.fleet.ListWorkers, ListWorkersRequest()))

    @strawberry.field(description="Conversations, newest first.")
    async def sessions(
        self,
        info: GraphInfo,
        limit: Limit = DEFAULT_LIMITS["sessions"],
        cursor: str | None = None,
        crew: str | None = None,
    ) -> PageOf[Session]:
        """Return a page of conversations."""
        mesh = info.context.mesh
        asked = checked(SessionFilters, limit=limit, cursor=cursor, crew=crew)
        request = ListSessionsRequest(
            page_size=asked.limit, page_token=asked.cursor or "", crew=asked.crew or ""
        )
        answer = await mesh.call(mesh.mesh.sessions.ListSessions, request)
        return PageOf.of(
            [Session.of(session) for session in answer.sessions], answer.next_page_token
        )

    @strawberry.field(description="A conversation, without its messages.")
    async def session(self, info: GraphInfo, id: strawberry.ID) -> Session:  # noqa: A002
        """Return a conversation."""
        mesh = info.context.mesh
        request = GetSessionRequest(session_id=checked_id(id))
        return Session.of((await mesh.call(mesh.mesh.sessions.GetSession, request)).session)

    @strawberry.field(description="Uploaded data, newest first.")
    async def datasets(
        self, info: GraphInfo, limit: Limit = DEFAULT_LIMITS["datasets"], cursor: str | None = None
    ) -> PageOf[Dataset]:
        """Return a page of datasets."""
        mesh = info.context.mesh
        page = checked(Page, limit=limit, cursor=cursor)
        request = ListDatasetsRequest(page_size=page.limit, page_token=page.cursor or "")
        answer = await mesh.call(mesh.mesh.files.ListDatasets, request)
        return PageOf.of(
            [Dataset.of(dataset) for dataset in answer.datasets], answer.next_page_token
        )

    @strawberry.field(description="A dataset; a name means the newest that has it.")
    async def dataset(self, info: GraphInfo, id_or_name: str) -> Dataset:
        """Return a dataset."""
        mesh = info.context.mesh
        request = GetDatasetRequest(id_or_name=id_or_name)
        return Dataset.of((await mesh.call(mesh.mesh.files.GetDataset, request)).dataset)

    @strawberry.field(description="The budgets of the organisation and its keys.")
    async def budgets(self, info: GraphInfo) -> list[BudgetState]:
        """Return all budgets."""
        mesh = info.context.mesh
        answer = await mesh.call(mesh.mesh.budgets.ListBudgets, ListBudgetsRequest())
        return [BudgetState.of(budget) for budget in answer.budgets]

    @strawberry.field(description="What model calls consumed, by any of crew, model and day.")
    async def usage(
        self,
        info: GraphInfo,
        group_by: list[str] | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> list[UsageGroup]:
        """Return what was consumed in a period, over all calls or by groups."""
        mesh = info.context.mesh
        period = checked(Period, after=after, before=before)
        names = group_by or []
        request = GetUsageRequest(group_by=names, to=as_timestamp(period.before))
        if (start := as_timestamp(period.after)) is not None:
            getattr(request, "from").CopyFrom(start)
        answer = await mesh.call(mesh.mesh.budgets.GetUsage, request)
        return [UsageGroup(**usage_group_json(group, names)) for group in answer.groups]
