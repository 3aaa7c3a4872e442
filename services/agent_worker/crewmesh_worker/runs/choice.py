"""Which models a run uses: chosen by the run, an agent, the crew, the tenant or the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_worker.crews.definition import CrewDefinition
from crewmesh_worker.projects.project import Project


@dataclass(frozen=True)
class ModelChoice:
    """The models of agents that name none, in order of preference, and the definition to run.

    `exchanges_all` is for a project: they take the place of all of its own.
    """

    models: tuple[str, ...]
    definition: CrewDefinition | Project
    exchanges_all: bool = False

    @property
    def tools(self) -> list[str]:
        """Every tool that the run may come to use; a project's are known once it is loaded."""
        return [] if isinstance(self.definition, Project) else self.definition.crew.all_tools

    @property
    def all(self) -> tuple[str, ...]:
        """Every model that the run may come to call, each once.

        Which ones a project calls is known when it does.
        """
        if isinstance(self.definition, Project):
            return self.models if self.exchanges_all else ()
        agents = self.definition.crew.agents.values()
        return tuple(dict.fromkeys((*self.models, *(m for a in agents for m in a.models))))


def choose_models(
    definition: CrewDefinition | Project,
    of_run: Sequence[str],
    of_tenant: Sequence[str],
    of_mesh: Sequence[str],
    of_projects: str = "",
) -> ModelChoice:
    """Return what the run uses.

    The run's choice goes before an agent's, an agent's before the crew's, the crew's before the
    tenant's, and the tenant's before the mesh's. `of_projects` goes before a project's own.
    """
    if isinstance(definition, Project):
        chosen = of_run or ([of_projects] if of_projects else [])
        return ModelChoice(tuple(chosen or of_tenant or of_mesh), definition, bool(chosen))
    if of_run:
        return ModelChoice(tuple(of_run), definition.without_models())
    return ModelChoice(tuple(definition.crew.models or of_tenant or of_mesh), definition)
