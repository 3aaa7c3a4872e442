"""Rows of crews to messages, and back."""

from __future__ import annotations

import re

from crewmesh.v1 import crew_pb2, crew_store_pb2
from crewmesh_store.database import Row
from crewmesh_store.messages import timestamp

_PREFIX = "CREW_SOURCE_"
SOURCE_NAMES = {
    number: name.removeprefix(_PREFIX).lower()
    for name, number in crew_pb2.CrewSource.items()
    if number != crew_pb2.CREW_SOURCE_UNSPECIFIED
}
_SOURCES = {name: number for number, name in SOURCE_NAMES.items()}
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def parse_version(text: str) -> int | None:
    """Return the number of an organisation's version; None for what is none."""
    return int(text) if _NUMBER.fullmatch(text) else None


def own_from_row(row: Row) -> crew_store_pb2.StoredCrew:
    """Return a version of an organisation's own crew, with its definition if the row has it."""
    return crew_store_pb2.StoredCrew(
        name=row["name"],
        version=str(row["version"]),
        definition_json=row.get("definition") or "",
        source=crew_pb2.CREW_SOURCE_UPLOADED,
        created_at=timestamp(row["created_at"]),
        created_by=row["created_by"],
        current_version=str(row["current_version"]),
        created_by_email=row.get("created_by_email") or "",
    )


def shared_from_row(row: Row) -> crew_store_pb2.StoredCrew:
    """Return a version of a crew that comes with workers."""
    return crew_store_pb2.StoredCrew(
        name=row["name"],
        version=row["version"],
        definition_json=row.get("definition") or "",
        source=_SOURCES[row["source"]],
        created_at=timestamp(row["created_at"]),
    )
