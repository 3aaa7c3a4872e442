"""What can be done to sessions and memories, each a single statement of sql/sessions.sql."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from uuid6 import uuid7

from crewmesh.common.errors import StateError
from crewmesh.common.identity import Identity
from crewmesh.v1 import memory_pb2, run_store_pb2, session_pb2
from crewmesh_store.database import Database, load_statements
from crewmesh_store.messages import parse_id
from crewmesh_store.sessions.messages import memory_from_row, message_from_row, session_from_row

SQL = load_statements("sessions")

# What a lease carries of a session: no more than a model could read.
_HISTORY_MESSAGES: Final = 200
_HISTORY_CHARACTERS: Final = 1_000_000


class SessionRepository:
    """Sessions, their messages and memories in Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, request: session_pb2.CreateSessionRequest, identity: Identity
    ) -> session_pb2.Session:
        """Record a session without messages."""
        row = await self._database.fetch_one(
            SQL["create_session"],
            id=UUID(bytes=uuid7().bytes),
            org_id=identity.require_org(),
            crew=request.crew,
            title=request.title,
            inputs=request.inputs_json or "{}",
            created_by=identity.user_id,
        )
        assert row is not None
        return session_from_row(row)

    async def get(self, session: str, org_id: str) -> session_pb2.Session | None:
        """Return a session of the organisation."""
        row = await self._database.fetch_one(
            SQL["get_session"], id=parse_id(session, "session"), org_id=org_id
        )
        return None if row is None else session_from_row(row)

    async def list_page(
        self, crew: str, org_id: str, before_id: UUID | None, limit: int
    ) -> list[session_pb2.Session]:
        """Return at most `limit` sessions, newest first."""
        rows = await self._database.fetch(
            SQL["list_sessions"],
            org_id=org_id,
            before_id=before_id,
            crew=crew or None,
            limit=limit,
        )
        return [session_from_row(row) for row in rows]

    async def delete(self, session: str, org_id: str) -> bool:
        """Delete a session with its messages and memories; False if there is none."""
        row = await self._database.fetch_one(
            SQL["delete_session"], id=parse_id(session, "session"), org_id=org_id
        )
        return row is not None

    async def list_open_runs(self, session: str, org_id: str) -> list[str]:
        """Return the session's runs that haven't ended, the last first."""
        rows = await self._database.fetch(SQL["list_open_runs"], session_id=session, org_id=org_id)
        return [str(row["id"]) for row in rows]

    async def list_messages(
        self, request: session_pb2.ListMessagesRequest, limit: int
    ) -> list[session_pb2.SessionMessage]:
        """Return at most `limit` messages of a session, in the order that is asked for."""
        session = parse_id(request.session_id, "session")
        if request.newest_first:
            rows = await self._database.fetch(
                SQL["list_newest_messages"],
                session_id=session,
                before_number=request.after_number,
                limit=limit,
            )
        else:
            rows = await self._database.fetch(
                SQL["list_messages"],
                session_id=session,
                after_number=request.after_number,
                limit=limit,
            )
        return [message_from_row(row) for row in rows]

    async def add_history(self, lease: run_store_pb2.Lease) -> None:
        """Put what was said before into the lease of a run that answers a message."""
        turn = {"session_id": UUID(lease.run.session_id), "turn": lease.run.turn}
        rows = await self._database.fetch(
            SQL["read_history"], **turn, limit=_HISTORY_MESSAGES, characters=_HISTORY_CHARACTERS
        )
        count = await self._database.fetch_one(SQL["count_history"], **turn)
        assert count is not None
        lease.history.extend(message_from_row(row) for row in rows)
        lease.earlier_messages = count["n"] - len(rows)

    async def read_memories(self, run_id: UUID, epoch: int) -> list[memory_pb2.Memory]:
        """Return what a run may remember; raise StateError (LEASE_LOST) if it is another's."""
        rows = await self._database.fetch(SQL["read_memories"], run_id=run_id, epoch=epoch)
        if not rows:
            raise StateError("the run's lease is not yours any more", reason="LEASE_LOST")
        return [memory_from_row(row) for row in rows if row["id"] is not None]

    async def forget_memory(self, session: str, org_id: str) -> int:
        """Delete what was kept in a session's memory; return how many records there were."""
        row = await self._database.fetch_one(
            SQL["forget_memory"], session_id=session, org_id=org_id
        )
        assert row is not None
        count: int = row["n"]
        return count
