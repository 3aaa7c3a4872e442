"""Where runs get their runners from, and what they are all given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_worker.crews.definition import CrewDefinition
from crewmesh_worker.projects.pools import ProjectPools
from crewmesh_worker.projects.project import Project
from crewmesh_worker.runner.pool import Runner, RunnerPool
from crewmesh_worker.runs.choice import ModelChoice, choose_models


@dataclass(frozen=True)
class RunSettings:
    """The mesh's models and the variables that runs see.

    `models` are the default ones, in order; `project_model`, if it is set, replaces those of
    projects.
    """

    models: list[str]
    project_model: str
    environment: dict[str, str]

    def choose(
        self, definition: CrewDefinition | Project, of_run: Sequence[str], of_tenant: Sequence[str]
    ) -> ModelChoice:
        """Return what a run uses; see `choose_models`."""
        return choose_models(definition, of_run, of_tenant, self.models, self.project_model)


class Runners:
    """The pool of our own crews, and those of projects."""

    def __init__(self, own: RunnerPool, projects: ProjectPools) -> None:
        self._own = own
        self._projects = projects

    async def acquire(self, definition: CrewDefinition | Project, affinity: str) -> Runner:
        """Return a runner for a run of that crew; see `RunnerPool.acquire`."""
        if isinstance(definition, Project):
            return await self._projects.acquire(definition, affinity)
        return await self._own.acquire(affinity)

    async def start(self) -> None:
        """Have runners of our own crews ready; projects' start when they are needed."""
        await self._own.start()

    async def stop(self) -> None:
        """End every runner."""
        await self._projects.stop()
        await self._own.stop()
