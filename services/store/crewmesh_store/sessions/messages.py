"""Rows to messages."""

from __future__ import annotations

from crewmesh.v1 import memory_pb2, session_pb2
from crewmesh_store.database import Row
from crewmesh_store.messages import timestamp


def session_from_row(row: Row) -> session_pb2.Session:
    """Return a row of `sessions` as a message."""
    return session_pb2.Session(
        id=str(row["id"]),
        crew=row["crew"],
        title=row["title"],
        inputs_json=row["inputs"],
        created_by=row["created_by"],
        turns=row["turns"],
        open_turns=row["open_turns"],
        created_at=timestamp(row["created_at"]),
        updated_at=timestamp(row["updated_at"]),
    )


def message_from_row(row: Row) -> session_pb2.SessionMessage:
    """Return a row of `session_messages` as a message."""
    return session_pb2.SessionMessage(
        number=row["number"],
        role=row["role"],
        content=row["content"],
        run_id=str(row["run_id"]),
        created_at=timestamp(row["created_at"]),
    )


def memory_from_row(row: Row) -> memory_pb2.Memory:
    """Return a row of `memories` as a message."""
    return memory_pb2.Memory(
        id=str(row["id"]),
        content=row["content"],
        record_json=row["record"],
        embedding=row["embedding"],
        embedder=row["embedder"],
        importance=row["importance"],
    )
