"""The projects that this worker can run: a source of crews."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.common.identity import Identity
from crewmesh.v1 import crew_pb2, crew_store_pb2
from crewmesh_worker.crews.messages import crew_message
from crewmesh_worker.crews.sources import CrewPage, CrewVersion
from crewmesh_worker.projects.preparation import find_version, kept_versions, prepare_projects
from crewmesh_worker.projects.project import BrokenProject, Project
from crewmesh_worker.projects.pruning import Holds, prune

log = structlog.get_logger(__name__)

_DEFAULT_PAGE = 50


class Projects:
    """Projects by name, each at the version that was found; earlier ones as far as kept.

    They are every organisation's. What a version is made of is kept in `cache_dir`, which
    workers share or have each their own: a run that is pinned to a version goes to one that
    has it.
    """

    def __init__(
        self,
        cache_dir: Path,
        projects: Iterable[Project | BrokenProject] = (),
        confinement: Mapping[str, Any] | None = None,
    ) -> None:
        """`confinement`: what their code is held to, as fields of RunnerSettings."""
        self._cache_dir = cache_dir
        self._confinement = confinement or {}
        self._projects = {project.name: project for project in projects}
        self._holds = Holds(cache_dir)

    async def load(self, directory: Path | None) -> None:
        """Have the projects of a directory ready, and log what is done for that.

        Environments that nobody has used for long are removed then.
        """
        if directory is None:
            return

        def say(name: str, message: str) -> None:
            log.info(f"project {name} {message}", project=name)  # noqa: G004 - for people

        projects = await prepare_projects(directory, self._cache_dir, say, self._confinement)
        self._projects = {project.name: project for project in projects}
        for project in projects:
            if isinstance(project, Project):
                self._holds.hold(project.python)
        await asyncio.to_thread(prune, self._cache_dir)

    def __contains__(self, name: str) -> bool:
        return name in self._projects

    async def find(
        self, name: str, version: str, identity: Identity, *, pinned: bool = False
    ) -> CrewVersion | None:
        """Return a project, also one that can't be run, or an earlier version that is kept."""
        current = self._projects.get(name)
        if current is None:
            return None
        if version in ("", current.version):
            return self._version(current)
        found = find_version(self._cache_dir, name, version, current.root)
        return self._version(found) if found is not None else None

    async def page(self, after_name: str, size: int, identity: Identity) -> CrewPage:
        """Return the projects, those too that can't be run."""
        names = sorted(name for name in self._projects if name > after_name)
        crews = [crew_message(self._version(self._projects[name])) for name in names[:size]]
        return CrewPage(crews, len(names) > size)

    async def versions(
        self, name: str, size: int, token: str, identity: Identity
    ) -> crew_store_pb2.ListStoredVersionsResponse | None:
        """Return a page of the versions that are kept; its token is how many came before."""
        current = self._projects.get(name)
        if current is None:
            return None
        kept = kept_versions(self._cache_dir, name)
        start = int(token) if token.isdecimal() else 0
        end = start + (size or _DEFAULT_PAGE)
        answer = crew_store_pb2.ListStoredVersionsResponse(
            next_page_token=str(end) if len(kept) > end else ""
        )
        for version, made_at in kept[start:end]:
            crew = answer.versions.add(name=name, version=version, current_version=current.version)
            crew.created_at.FromMicroseconds(int(made_at * 1_000_000))
        return answer

    def _version(self, project: Project | BrokenProject) -> CrewVersion:
        made = dict(kept_versions(self._cache_dir, project.name)).get(project.version)
        created_at = Timestamp()
        if made is not None:
            created_at.FromMicroseconds(int(made * 1_000_000))
        return CrewVersion(
            project,
            project.version,
            crew_pb2.CREW_SOURCE_PROJECT,
            created_at if made is not None else None,
            self._projects[project.name].version,
        )
