"""Which models a run uses: chosen by the run, an agent, the crew, the tenant or the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_worker.crews.definition import CrewDefinition


@dataclass(frozen=True)
class ModelChoice:
    """The models of agents that name none, in order of preference, and the definition to run."""

    models: tuple[str, ...]
    definition: CrewDefinition

    @property
    def all(self) -> tuple[str, ...]:
        """Every model that the run may come to call, each once."""
        agents = self.definition.crew.agents.values()
        return tuple(dict.fromkeys((*self.models, *(m for a in agents for m in a.models))))


def choose_models(
    definition: CrewDefinition,
    of_run: Sequence[str],
    of_tenant: Sequence[str],
    of_mesh: Sequence[str],
) -> ModelChoice:
    """Return what the run uses.

    The run's choice goes before an agent's, an agent's before the crew's, the crew's before the
    tenant's, and the tenant's before the mesh's.
    """
    if of_run:
        return ModelChoice(tuple(of_run), definition.without_models())
    return ModelChoice(tuple(definition.crew.models or of_tenant or of_mesh), definition)
