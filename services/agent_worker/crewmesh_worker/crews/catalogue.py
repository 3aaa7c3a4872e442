"""The crews that come with this worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from crewmesh.common.errors import NotFoundError
from crewmesh_worker.crews.definition import CrewDefinition, load_definitions
from crewmesh_worker.projects.discovery import is_project

BUILT_IN = Path(__file__).parent


class Catalogue:
    """Crews by name."""

    def __init__(
        self, definitions: Mapping[str, CrewDefinition], mounted: Collection[str] = ()
    ) -> None:
        self._definitions = dict(definitions)
        # Names of those that are not from Crewmesh itself.
        self.mounted = frozenset(mounted)

    @classmethod
    def load(cls, directory: Path | None = None) -> Catalogue:
        """Return the crews that come with Crewmesh, and those of a directory's `*.yaml` files.

        Raises InvalidInputError for a definition with faults.
        """
        own = load_definitions(directory) if directory and not is_project(directory) else {}
        return cls({**load_definitions(BUILT_IN), **own}, own)

    def get(self, name: str) -> CrewDefinition:
        """Return a crew; raise NotFoundError, with the names there are, for another name."""
        definition = self._definitions.get(name)
        if definition is None:
            known = ", ".join(sorted(self._definitions))
            raise NotFoundError(
                f"there is no crew {name[:64]!r}; there are: {known}", reason="CREW_NOT_FOUND"
            )
        return definition

    def __contains__(self, name: str) -> bool:
        return name in self._definitions

    def all(self) -> list[CrewDefinition]:
        """Return every crew, by name."""
        return [self._definitions[name] for name in sorted(self._definitions)]
