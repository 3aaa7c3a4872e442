"""The crews that come with workers, which are everybody's.

A worker publishes its own when it starts. So a run that was accepted by another worker,
with another version of the same crew, is carried out here with that version.
"""

from __future__ import annotations

import hashlib

from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.common.identity import Identity
from crewmesh.v1 import crew_pb2, crew_store_pb2
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import CrewDefinition, to_json
from crewmesh_worker.crews.messages import crew_message
from crewmesh_worker.crews.sources import CrewPage, CrewVersion
from crewmesh_worker.crews.store import CrewStore

_HASH_CHARACTERS = 12


def content_version(definition: CrewDefinition) -> str:
    """Return the version that names a definition by its content: "1.0.0+3fa9c1d2e4b5"."""
    digest = hashlib.sha256(to_json(definition).encode()).hexdigest()
    return f"{definition.version or '0'}+{digest[:_HASH_CHARACTERS]}"


class SharedCrews:
    """A source of crews: this worker's catalogue, and other versions that the store has."""

    def __init__(self, catalogue: Catalogue, store: CrewStore) -> None:
        self._store = store
        self._definitions = catalogue.all()
        self._crews = {
            definition.name: CrewVersion(
                definition,
                (version := content_version(definition)),
                crew_pb2.CREW_SOURCE_MOUNTED
                if definition.name in catalogue.mounted
                else crew_pb2.CREW_SOURCE_BUILT_IN,
                None,
                version,
            )
            for definition in self._definitions
        }
        self._created_at: dict[str, Timestamp] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._crews

    async def publish(self) -> frozenset[tuple[str, str]]:
        """Keep this worker's crews in the store.

        Returns whose own crews have the same names: organisations and names.
        """
        crews = [
            crew_store_pb2.StoredCrew(
                name=definition.name,
                version=self._crews[definition.name].version,
                definition_json=to_json(definition),
                source=self._crews[definition.name].source,
            )
            for definition in self._definitions
        ]
        request = crew_store_pb2.PublishCrewsRequest(crews=crews)
        answer = await self._store.call(self._store.stub.PublishCrews, request)
        self._created_at = {crew.name: crew.created_at for crew in answer.crews}
        return frozenset((owner.org_id, owner.name) for owner in answer.owners)

    async def find(
        self, name: str, version: str, identity: Identity, *, pinned: bool = False
    ) -> CrewVersion | None:
        """Return this worker's version, or another that some worker has published."""
        own = self._crews.get(name)
        if own is not None and version in ("", own.version):
            return self._dated(own)
        if not version or version.isdigit():
            return None
        if pinned and (known := self._store.known(identity.org_id, name, version)) is not None:
            return CrewVersion(known, version, crew_pb2.CREW_SOURCE_BUILT_IN, None, "")
        request = crew_store_pb2.GetStoredCrewRequest(name=name, version=version)
        found = await self._store.get(request, identity)
        if found is None:
            return None
        crew, definition = found
        return CrewVersion(
            definition, version, crew.source, crew.created_at, own.version if own else ""
        )

    async def page(self, after_name: str, size: int, identity: Identity) -> CrewPage:
        """Return this worker's crews."""
        names = sorted(name for name in self._crews if name > after_name)
        crews = [crew_message(self._dated(self._crews[name])) for name in names[:size]]
        return CrewPage(crews, len(names) > size)

    async def versions(
        self, name: str, size: int, token: str, identity: Identity
    ) -> crew_store_pb2.ListStoredVersionsResponse | None:
        """Return a page of what workers have published under a name that this one has."""
        own = self._crews.get(name)
        if own is None:
            return None
        request = crew_store_pb2.ListStoredVersionsRequest(
            name=name, shared=True, page_size=size, page_token=token
        )
        answer = await self._store.call(self._store.stub.ListStoredVersions, request, identity)
        for crew in answer.versions:
            crew.current_version = own.version
        return answer

    def _dated(self, crew: CrewVersion) -> CrewVersion:
        return CrewVersion(
            crew.definition,
            crew.version,
            crew.source,
            self._created_at.get(crew.definition.name),
            crew.current_version,
        )
