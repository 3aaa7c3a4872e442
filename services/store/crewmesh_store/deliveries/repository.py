"""Webhooks in Postgres."""

from __future__ import annotations

from datetime import timedelta

from crewmesh.v1 import delivery_pb2
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.deliveries.schedule import next_pause
from crewmesh_store.runs.messages import run_id

SQL = load_statements("deliveries")


class DeliveryRepository:
    """Webhooks that are due, and their tries."""

    def __init__(self, database: Database, first_pause: timedelta) -> None:
        self._database = database
        self._first_pause = first_pause

    async def claim(self, limit: int, hold: timedelta) -> list[Row]:
        """Return at most `limit` that are due: run_id, org_id, url, secret, tries.

        Nobody else gets them before `hold` is over.
        """
        return await self._database.fetch(SQL["claim_deliveries"], limit=limit, hold=hold)

    async def report(self, report: delivery_pb2.ReportDeliveryRequest) -> None:
        """Record what came of a try; a late report of an earlier one changes nothing."""
        pause = None
        if 200 <= report.status < 300:
            status = "delivered"
        else:
            pause = None if report.final else next_pause(report.tries, self._first_pause)
            status = "failed" if pause is None else "due"
        await self._database.fetch(
            SQL["report_delivery"],
            run_id=run_id(report.run_id),
            tries=report.tries,
            status=status,
            last_status=report.status,
            last_error=report.error.replace("\x00", "\N{REPLACEMENT CHARACTER}"),
            pause=pause or timedelta(),
        )
