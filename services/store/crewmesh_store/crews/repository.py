"""Crews in Postgres; each method is a statement or two of sql/crews.sql."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import psycopg

from crewmesh.common.errors import ConflictError, InvalidInputError, NotFoundError, StateError
from crewmesh.common.identity import Identity
from crewmesh.v1 import crew_store_pb2
from crewmesh_store.crews.messages import (
    SOURCE_NAMES,
    own_from_row,
    parse_version,
    shared_from_row,
)
from crewmesh_store.database import Database, load_statements

SQL = load_statements("crews")

MAX_CREWS: Final = 1_000
MAX_VERSIONS: Final = 1_000
_MAX_PAGE_BYTES: Final = 4 * 1024 * 1024


class CrewRepository:
    """Organisations' own crews, and those that come with workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, request: crew_store_pb2.PutStoredCrewRequest, identity: Identity
    ) -> crew_store_pb2.PutStoredCrewResponse:
        """Make the next version of a crew, unless its content is the current one's.

        Raises StateError when the organisation has too many crews or this one too many versions.
        """
        row = await self._database.fetch_one(
            SQL["put_crew"],
            org_id=identity.require_org(),
            name=request.name,
            definition=request.definition_json,
            hash=_hash_of(request.definition_json),
            created_by=identity.user_id,
            max_crews=MAX_CREWS,
            max_versions=MAX_VERSIONS,
        )
        if row is None:
            raise StateError(
                f"an organisation has at most {MAX_CREWS:,} crews, and a crew {MAX_VERSIONS:,} "
                "versions: delete a crew that nobody needs, or go on under a new name",
                reason="TOO_MANY_CREWS",
            )
        return crew_store_pb2.PutStoredCrewResponse(
            crew=own_from_row(row), created=row["created"], changed=row["changed"]
        )

    async def get(
        self, request: crew_store_pb2.GetStoredCrewRequest, org_id: str
    ) -> crew_store_pb2.StoredCrew:
        """Return one version of one crew; raise NotFoundError where there is none."""
        number = parse_version(request.version)
        if request.version and number is None:
            row = await self._database.fetch_one(
                SQL["get_shared_crew"], name=request.name, version=request.version
            )
            if row is not None:
                return shared_from_row(row)
            raise no_version(request.name, request.version)
        row = await self._database.fetch_one(
            SQL["get_crew"],
            org_id=org_id,
            name=request.name,
            version=number,
            known_version=parse_version(request.known_version),
            pinned=request.pinned,
        )
        if row is None:
            raise no_version(request.name, request.version)
        return own_from_row(row)

    async def list_page(
        self, org_id: str, after_name: str, limit: int
    ) -> list[crew_store_pb2.StoredCrew]:
        """Return an organisation's own crews by name: at most `limit`, and about 4 MiB."""
        rows = await self._database.fetch(
            SQL["list_crews"],
            org_id=org_id,
            after_name=after_name,
            limit=limit,
            max_bytes=_MAX_PAGE_BYTES,
        )
        return [own_from_row(row) for row in rows]

    async def list_versions(
        self, org_id: str, name: str, before: int | None, limit: int
    ) -> list[crew_store_pb2.StoredCrew]:
        """Return the versions of an organisation's own crew, newest first."""
        rows = await self._database.fetch(
            SQL["list_versions"], org_id=org_id, name=name, before=before, limit=limit
        )
        return [own_from_row(row) for row in rows]

    async def list_shared_versions(
        self, name: str, before: UUID | None, limit: int
    ) -> list[tuple[UUID, crew_store_pb2.StoredCrew]]:
        """Return the versions of a crew that comes with workers, newest first, by their ids."""
        rows = await self._database.fetch(
            SQL["list_shared_versions"], name=name, before=before, limit=limit
        )
        return [(row["id"], shared_from_row(row)) for row in rows]

    async def set_current(
        self, name: str, version: str, identity: Identity
    ) -> crew_store_pb2.StoredCrew:
        """Make a version current; raise NotFoundError where there is none."""
        row = await self._database.fetch_one(
            SQL["set_current_version"],
            org_id=identity.require_org(),
            name=name,
            version=parse_version(version),
        )
        if row is None:
            raise no_version(name, version)
        return own_from_row(row)

    async def delete(self, name: str, identity: Identity) -> None:
        """Delete a crew; its versions stay for runs that are pinned to them."""
        row = await self._database.fetch_one(
            SQL["delete_crew"], org_id=identity.require_org(), name=name
        )
        if row is None:
            raise no_version(name, "")

    async def publish(
        self, crews: Sequence[crew_store_pb2.StoredCrew]
    ) -> crew_store_pb2.PublishCrewsResponse:
        """Keep what a worker brings, and say whose own crews have the same names.

        Raises ConflictError where a version has other content than here.
        """
        names, versions = [crew.name for crew in crews], [crew.version for crew in crews]
        hashes = {(crew.name, crew.version): _hash_of(crew.definition_json) for crew in crews}
        try:
            await self._database.fetch(
                SQL["publish_crews"],
                names=names,
                versions=versions,
                sources=[SOURCE_NAMES[crew.source] for crew in crews],
                definitions=[crew.definition_json for crew in crews],
                hashes=list(hashes.values()),
            )
        except (KeyError, psycopg.DataError, psycopg.IntegrityError) as error:
            raise InvalidInputError(f"these crews can't be published: {error}") from error
        rows = await self._database.fetch(SQL["read_published"], names=names, versions=versions)
        for row in rows:
            if row["content_hash"] != hashes[row["name"], row["version"]]:
                raise ConflictError(
                    f"version {row['version']} of the crew {row['name']!r} has other content here"
                )
        published = {(row["name"], row["version"]): shared_from_row(row) for row in rows}
        owners = await self._database.fetch(SQL["list_owners"], names=names)
        return crew_store_pb2.PublishCrewsResponse(
            crews=[published[key] for key in hashes],
            owners=[
                crew_store_pb2.CrewOwner(org_id=str(row["org_id"]), name=row["name"])
                for row in owners
            ],
        )


def no_version(name: str, version: str) -> NotFoundError:
    """Return the error for a crew, or a version of one, that isn't there."""
    if not version:
        return NotFoundError(f"there is no crew {name[:64]!r}", reason="CREW_NOT_FOUND")
    return NotFoundError(
        f"the crew {name[:64]!r} has no version {version[:80]!r}", reason="CREW_VERSION_NOT_FOUND"
    )


def _hash_of(definition_json: str) -> bytes:
    return hashlib.sha256(definition_json.encode()).digest()
