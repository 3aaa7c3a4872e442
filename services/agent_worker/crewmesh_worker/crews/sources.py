"""Where crews come from: what every such place answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.common.errors import StateError
from crewmesh.common.identity import Identity
from crewmesh.v1 import crew_pb2, crew_store_pb2
from crewmesh_worker.crews.definition import CrewDefinition
from crewmesh_worker.projects.project import BrokenProject, Project


@dataclass(frozen=True)
class CrewVersion:
    """One version of one crew, which never changes, and which of them is current now."""

    definition: CrewDefinition | Project | BrokenProject
    version: str
    source: crew_pb2.CrewSource.ValueType
    created_at: Timestamp | None
    current_version: str

    @property
    def runnable(self) -> CrewDefinition | Project:
        """What a run carries out. Raises StateError (PROJECT_BROKEN) where that can't be done."""
        if isinstance(self.definition, BrokenProject):
            name, error = self.definition.name, self.definition.error
            raise StateError(f"the project {name!r} can't be run: {error}", reason="PROJECT_BROKEN")
        return self.definition


@dataclass(frozen=True)
class CrewPage:
    """Some of a place's crews, by name; `more` says that there are others after them."""

    crews: list[crew_pb2.Crew]
    more: bool


class CrewSource(Protocol):
    """A place that crews come from. Names are looked up for the caller's organisation."""

    def __contains__(self, name: str) -> bool:
        """Tell whether the name is this place's, for every organisation."""

    async def find(
        self, name: str, version: str, identity: Identity, *, pinned: bool = False
    ) -> CrewVersion | None:
        """Return a version, the current one for ""; None where there is none here.

        `pinned` is for a run that was accepted with this version: it may have been deleted
        since.
        """

    async def page(self, after_name: str, size: int, identity: Identity) -> CrewPage:
        """Return at most `size` crews whose names come after `after_name`."""

    async def versions(
        self, name: str, size: int, token: str, identity: Identity
    ) -> crew_store_pb2.ListStoredVersionsResponse | None:
        """Return a page of a crew's versions, newest first; None where there is no such crew."""
