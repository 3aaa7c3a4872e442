"""The crews that organisations brought."""

from __future__ import annotations

from crewmesh.common.errors import InvalidInputError, NotFoundError
from crewmesh.common.identity import Identity
from crewmesh.v1 import crew_pb2, crew_store_pb2
from crewmesh_worker.crews.definition import CrewDefinition
from crewmesh_worker.crews.messages import crew_message
from crewmesh_worker.crews.sources import CrewPage, CrewVersion
from crewmesh_worker.crews.store import CrewStore


class UploadedCrews:
    """A source of crews: the store's, each organisation its own."""

    def __init__(self, store: CrewStore) -> None:
        self._store = store
        # The version that was current when last asked for, by organisation and name.
        self._current: dict[tuple[str, str], str] = {}

    def __contains__(self, name: str) -> bool:
        return False  # each organisation has names of its own

    async def find(
        self, name: str, version: str, identity: Identity, *, pinned: bool = False
    ) -> CrewVersion | None:
        """Return a version; which one is current is asked each time."""
        if version and not version.isdigit():
            return None
        key = (identity.org_id, name)
        if version and pinned and (known := self._store.known(*key, version)) is not None:
            return _version(crew_store_pb2.StoredCrew(name=name, version=version), known)
        found = await self._store.get(
            crew_store_pb2.GetStoredCrewRequest(
                name=name,
                version=version,
                known_version=version or self._current.get(key, ""),
                pinned=pinned,
            ),
            identity,
        )
        if found is None:
            self._current.pop(key, None)
            return None
        if not version:
            if len(self._current) > 10_000:
                self._current.clear()
            self._current[key] = found[0].version
        return _version(*found)

    async def page(self, after_name: str, size: int, identity: Identity) -> CrewPage:
        """Return the organisation's crews; one that can't be read here says so."""
        request = crew_store_pb2.ListStoredCrewsRequest(page_size=size, after_name=after_name)
        answer = await self._store.call(self._store.stub.ListStoredCrews, request, identity)
        crews = [await self._summary(crew, identity.org_id) for crew in answer.crews]
        return CrewPage(crews, answer.more)

    async def _summary(self, crew: crew_store_pb2.StoredCrew, org_id: str) -> crew_pb2.Crew:
        try:
            return crew_message(_version(crew, await self._store.read(crew, org_id)))
        except InvalidInputError as error:
            return crew_pb2.Crew(
                name=crew.name,
                description=f"This version of Crewmesh can't run it: {error.message}.",
                version=crew.version,
                inputs_schema_json='{"type":"object"}',
                source=crew.source,
                created_at=crew.created_at,
                current_version=crew.current_version,
            )

    async def versions(
        self, name: str, size: int, token: str, identity: Identity
    ) -> crew_store_pb2.ListStoredVersionsResponse | None:
        """Return a page of the versions of the organisation's crew."""
        request = crew_store_pb2.ListStoredVersionsRequest(
            name=name, page_size=size, page_token=token
        )
        try:
            return await self._store.call(self._store.stub.ListStoredVersions, request, identity)
        except NotFoundError:
            return None

    async def put(
        self, name: str, definition_json: str, identity: Identity
    ) -> crew_store_pb2.PutStoredCrewResponse:
        """Make the next version, unless this content is the current one's."""
        request = crew_store_pb2.PutStoredCrewRequest(name=name, definition_json=definition_json)
        return await self._store.call(self._store.stub.PutStoredCrew, request, identity)

    async def set_current(self, name: str, version: str, identity: Identity) -> CrewVersion:
        """Make a version current."""
        request = crew_store_pb2.SetCurrentVersionRequest(name=name, version=version)
        answer = await self._store.call(self._store.stub.SetCurrentVersion, request, identity)
        return _version(answer.crew, await self._store.read(answer.crew, identity.org_id))

    async def delete(self, name: str, identity: Identity) -> None:
        """Delete a crew."""
        request = crew_store_pb2.DeleteStoredCrewRequest(name=name)
        await self._store.call(self._store.stub.DeleteStoredCrew, request, identity)


def _version(crew: crew_store_pb2.StoredCrew, definition: CrewDefinition) -> CrewVersion:
    return CrewVersion(
        definition,
        crew.version,
        crew_pb2.CREW_SOURCE_UPLOADED,
        crew.created_at if crew.HasField("created_at") else None,
        crew.current_version,
    )
