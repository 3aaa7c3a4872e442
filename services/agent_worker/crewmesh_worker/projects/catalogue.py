"""The projects that this worker can run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog

from crewmesh.common.errors import StateError
from crewmesh_worker.projects.preparation import find_version, prepare_projects
from crewmesh_worker.projects.project import BrokenProject, Project

log = structlog.get_logger(__name__)


class Projects:
    """Projects by name, each at the version that was found; earlier ones as far as kept."""

    def __init__(self, projects: Iterable[Project | BrokenProject], cache_dir: Path) -> None:
        self._projects = {project.name: project for project in projects}
        self._cache_dir = cache_dir

    @classmethod
    async def load(cls, directory: Path | None, cache_dir: Path) -> Projects:
        """Have the projects of a directory ready, and log what is done for that."""
        if directory is None:
            return cls((), cache_dir)

        def say(name: str, message: str) -> None:
            log.info(f"project {name} {message}", project=name)  # noqa: G004 - for people

        return cls(await prepare_projects(directory, cache_dir, say), cache_dir)

    def all(self) -> list[Project | BrokenProject]:
        """Return every project, broken ones too."""
        return list(self._projects.values())

    def get(self, name: str) -> Project | None:
        """Return a project, or None for another name. Raises StateError for a broken one."""
        project = self._projects.get(name)
        if isinstance(project, BrokenProject):
            raise StateError(
                f"the project {name!r} can't be run: {project.error}", reason="PROJECT_BROKEN"
            )
        return project

    def knows(self, name: str) -> bool:
        """Tell whether there is a project of that name, broken or not."""
        return name in self._projects

    def find(self, name: str, version: str) -> Project | None:
        """Return a project at the version that a run is pinned to, if it is still kept."""
        project = self._projects[name]
        if isinstance(project, Project) and project.version == version:
            return project
        return find_version(self._cache_dir, name, version, project.root)
