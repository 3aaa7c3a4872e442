"""The crews that this worker can run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crewmesh.common.errors import NotFoundError
from crewmesh.v1.crew_pb2 import Crew
from crewmesh_worker.crews.definition import CrewDefinition, load_definitions, to_proto
from crewmesh_worker.projects.catalogue import Projects
from crewmesh_worker.projects.discovery import is_project
from crewmesh_worker.projects.project import Project

BUILT_IN = Path(__file__).parent


class Catalogue:
    """Crews by name."""

    def __init__(self, definitions: Mapping[str, CrewDefinition]) -> None:
        self._definitions = dict(definitions)
        self._projects = Projects((), Path())

    @classmethod
    def load(cls, directory: Path | None = None) -> Catalogue:
        """Return the crews that come with Crewmesh, and those of a directory's `*.yaml` files.

        Raises InvalidInputError for a definition with faults.
        """
        own = load_definitions(directory) if directory and not is_project(directory) else {}
        return cls({**load_definitions(BUILT_IN), **own})

    def serve(self, projects: Projects) -> None:
        """Add projects. One that is named like a crew takes its place."""
        self._projects = projects

    def get(self, name: str) -> CrewDefinition | Project:
        """Return a crew; raise NotFoundError, with the names there are, for another name.

        Raises StateError for a project that can't be run.
        """
        if (project := self._projects.get(name)) is not None:
            return project
        definition = self._definitions.get(name)
        if definition is None:
            known = ", ".join(crew.name for crew in self.all())
            raise NotFoundError(
                f"there is no crew {name[:64]!r}; there are: {known}", reason="CREW_NOT_FOUND"
            )
        return definition

    def find(self, name: str, version: str) -> CrewDefinition | Project:
        """Return the crew of a run that is pinned to a version.

        Raises NotFoundError, CREW_VERSION_GONE, for a project's version that isn't kept here.
        """
        if not self._projects.knows(name):
            return self.get(name)
        project = self._projects.find(name, version)
        if project is None:
            raise NotFoundError(
                f"version {version} of the project {name!r} isn't kept here any more; start the "
                "run anew with the version that is",
                reason="CREW_VERSION_GONE",
            )
        return project

    def describe(self, name: str) -> Crew:
        """Return what clients see of a crew, also of a project that can't be run."""
        for project in self._projects.all():
            if project.name == name:
                return project.to_proto()
        crew = self.get(name)
        return to_proto(crew) if isinstance(crew, CrewDefinition) else crew.to_proto()

    def all(self) -> list[Crew]:
        """Return what clients see of every crew, by name."""
        crews = {name: to_proto(definition) for name, definition in self._definitions.items()}
        crews.update({project.name: project.to_proto() for project in self._projects.all()})
        return [crews[name] for name in sorted(crews)]
