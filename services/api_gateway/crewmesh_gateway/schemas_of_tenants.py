"""The shapes of what an organisation sets and spends: budgets, usage, secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from crewmesh_gateway.params import VARIABLE
from crewmesh_gateway.schemas import BudgetLimit, Input, Limit

Period = Literal["day", "month", "total"]


class SetBudget(BudgetLimit):
    """A limit on what the organisation, or one of its API keys, may spend in a period."""

    api_key_id: Annotated[
        str | None, Field(max_length=64, description="null: of the whole organisation.")
    ] = None
    period: Annotated[Period, Field(description="In UTC.")]


class SetBudgets(Input):
    """All budgets of an organisation."""

    items: Annotated[list[SetBudget], Field(max_length=1000)]


class Budget(Limit):
    """A budget, and what is gone of it in the current period."""

    api_key_id: str | None
    period: Period
    period_start: datetime | None
    spent_tokens: int
    spent_usd: float
    reserved_tokens: Annotated[int, Field(description="For model calls that are under way.")]
    reserved_usd: float


class Budgets(BaseModel):
    """All budgets of an organisation."""

    items: list[Budget]


class UsageGroup(BaseModel):
    """What model calls consumed; what it isn't grouped by is null."""

    crew: str | None
    model: str | None
    day: Annotated[str | None, Field(description="YYYY-MM-DD in UTC.")]
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost_usd: Annotated[float, Field(description="Of the calls whose price is known.")]
    unpriced_calls: int


class Usage(BaseModel):
    """What an organisation's model calls consumed."""

    items: list[UsageGroup]


class SetSecret(Input):
    """A secret's value, which no answer ever shows."""

    value: Annotated[str, Field(min_length=1, max_length=8192)]


class Secret(BaseModel):
    """What may be known of a secret."""

    name: Annotated[str, Field(pattern=VARIABLE)]
    ending: Annotated[str, Field(description="The last characters of a long value.")]
    created_by: str
    created_at: datetime


class Secrets(BaseModel):
    """All secrets of an organisation."""

    items: list[Secret]
