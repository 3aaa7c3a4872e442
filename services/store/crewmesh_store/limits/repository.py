"""Limits in Postgres; each method is a statement of sql/limits.sql."""

from __future__ import annotations

import json
from collections.abc import Mapping

from crewmesh.common.errors import NotFoundError
from crewmesh.v1 import limit_pb2
from crewmesh_store.database import Database, load_statements

SQL = load_statements("limits")


class LimitRepository:
    """What organisations may use at once; claims and the queue's end keep to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, org_id: str) -> limit_pb2.Limits:
        """Return the organisation's limits, those of crews by name."""
        row = await self._database.fetch_one(SQL["get_limits"], org_id=org_id)
        if row is None:
            raise NotFoundError("there is no such organisation")
        return limit_pb2.Limits(
            max_running=row["max_running"],
            max_queued=row["max_queued"],
            max_requests_per_minute=row["max_requests_per_minute"],
            crews=[
                limit_pb2.CrewLimit(crew=crew, max_running=max_running)
                for crew, max_running in json.loads(row["crews"])
            ],
        )

    async def set(self, org_id: str, limits: limit_pb2.Limits) -> None:
        """Replace the organisation's limits; they hold for every run that is claimed from now on."""
        await self._database.fetch(
            SQL["set_limits"],
            org_id=org_id,
            max_running=limits.max_running if limits.HasField("max_running") else None,
            max_queued=limits.max_queued,
            max_requests_per_minute=limits.max_requests_per_minute
            if limits.HasField("max_requests_per_minute")
            else None,
            crews=[limit.crew for limit in limits.crews],
            crew_limits=[limit.max_running for limit in limits.crews],
        )

    async def count_requests(self, seconds_by_subject: Mapping[str, float]) -> dict[str, float]:
        """Add what subjects took of their minutes; return when all of it will be given back.

        Both in seconds, the latter from now on.
        """
        rows = await self._database.fetch(
            SQL["count_requests"],
            subjects=list(seconds_by_subject),
            seconds=list(seconds_by_subject.values()),
        )
        return {row["subject"]: row["seconds"] for row in rows}

    async def forget_request_counts(self) -> None:
        """Delete what says nothing any more."""
        await self._database.fetch(SQL["forget_request_counts"])
