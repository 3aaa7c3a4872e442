"""The shapes of what is known of the fleet."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from crewmesh_gateway.schemas import Page


class Worker(BaseModel):
    """A worker that is attached, or fell silent less than a minute ago."""

    id: str
    address: str
    version: str
    slots: Annotated[int, Field(description="Runs that it has room for.")]
    free_slots: int
    running: Annotated[int, Field(description="Runs of yours that it holds the leases of.")]
    lease_age_seconds: Annotated[
        float | None,
        Field(description="Since the least recently renewed of these was; null without any."),
    ]
    started_at: datetime
    last_seen_at: datetime


class Queue(BaseModel):
    """How your organisation's runs stand now."""

    queued: int
    running: int
    waiting: Annotated[int, Field(description="For a person.")]
    oldest_queued_at: datetime | None


class Fleet(Page[Worker]):
    """The workers, and what waits for them."""

    queue: Queue
    lease_seconds: Annotated[float, Field(description="How long a lease lasts that isn't renewed.")]
