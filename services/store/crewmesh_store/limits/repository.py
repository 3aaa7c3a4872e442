"""Limits in Postgres; each method is a statement of sql/limits.sql."""

from __future__ import annotations

import json

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
            crews=[limit.crew for limit in limits.crews],
            crew_limits=[limit.max_running for limit in limits.crews],
        )
