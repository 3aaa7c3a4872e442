"""What resolvers are given, checked as REST checks it."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import strawberry
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crewmesh.common.documents.places import Place, show_place
from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh_gateway import schemas
from crewmesh_gateway.params import (
    CREW_VERSION,
    CreatorFilter,
    CrewFilter,
    Cursor,
    Id,
    Limit,
    Moment,
    SessionFilter,
    Wait,
    Words,
)
from crewmesh_gateway.problems import faults_of
from crewmesh_gateway.waiting import IdempotencyKey

Arguments = TypeVar("Arguments", bound=BaseModel)


@strawberry.input(description="What a run may spend; at least one of the two.")
class Budget:
    """A limit of tokens, US dollars or both."""

    max_tokens: float | None = None
    max_usd: float | None = None


@strawberry.input(description="Where the run is posted when it has ended; a secret signs it.")
class Webhook:
    """An address."""

    url: str
    secret: str = ""


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Page(_Checked):
    """Which page of a list."""

    limit: Limit
    cursor: Cursor = None


class RunFilters(Page):
    """Which runs a page has."""

    status: schemas.Status | None = None
    crew: CrewFilter = None
    session_id: SessionFilter = None
    created_by: CreatorFilter = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    text: Words = None
    webhook: schemas.WebhookStatus | None = None


class SessionFilters(Page):
    """Which conversations a page has."""

    crew: CrewFilter = None


class Period(_Checked):
    """From when on, and until when."""

    after: Moment | None = None
    before: Moment | None = None


class OneVersion(_Checked):
    """Which of a crew's versions; by default the current one."""

    version: Annotated[str | None, Field(pattern=CREW_VERSION)] = None


class OneId(_Checked):
    """A thing's id; raises NotFoundError for what can be none."""

    id: Id


class Repeatable(_Checked):
    """What makes a call safe to repeat."""

    idempotency_key: IdempotencyKey = None


class Waiting(_Checked):
    """For how long to wait."""

    wait: Wait = 0


def checked(model: type[Arguments], place: Place = (), **given: Any) -> Arguments:
    """Return what was given at a place, as the model has it; what is None was left out.

    Raises InvalidInputError with every fault. GraphQL has numbers of 64 bits as Float only, so a
    Float that is whole is taken for an integer.
    """
    try:
        return model.model_validate({n: v for n, v in given.items() if v is not None}, strict=False)
    except ValidationError as error:
        violations = [
            Violation(show_place((*place, *fault["loc"])), fault["msg"])
            for fault in faults_of(error.errors())
        ]
        raise InvalidInputError(
            "; ".join(f"{v.field}: {v.message}" for v in violations), violations=violations
        ) from None


def checked_id(given: str) -> str:
    """Return an id as the mesh writes it; raise NotFoundError for what can be none."""
    return checked(OneId, id=given).id
