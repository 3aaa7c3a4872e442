"""The audit log in Postgres, which triggers write; see sql/audit.sql."""

from __future__ import annotations

from crewmesh.v1 import audit_pb2
from crewmesh_store.database import Database, load_statements

SQL = load_statements("audit")


class AuditRepository:
    """Reads organisations' audit logs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_page(
        self, org_id: str, after: int | None, before: int, limit: int
    ) -> audit_pb2.ListAuditEntriesResponse:
        """Return at most `limit` entries: after a number the oldest first, else the newest first."""
        # The end is read first: entries that come meanwhile are no fault of the log's.
        head = await self._database.fetch_one(SQL["get_head"], org_id=org_id)
        statement = SQL["list_newest_entries"] if after is None else SQL["list_entries_after"]
        rows = await self._database.fetch(
            statement, org_id=org_id, after=after, before=before, limit=limit + 1
        )
        return audit_pb2.ListAuditEntriesResponse(
            entries=[
                audit_pb2.AuditEntry(seq=row["seq"], entry_json=row["entry"], hash=row["hash"])
                for row in rows[:limit]
            ],
            more=len(rows) > limit,
            head_seq=head["seq"] if head else 0,
            head_hash=head["hash"] if head else b"",
        )
