"""What a crew's definition is made of.

It holds agents, tasks and names of our tools and nothing else. Whatever could import
code, read a path or reach a host (CrewAI's own definitions can do all three) is not in
the model, and a key that isn't in the model is refused.

Runner processes import this module, which therefore imports no gRPC.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DATASET_FORMAT = "dataset"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,199}$")]
# One, or several in order: the next is used when one fails for good.
Models = ModelName | Annotated[list[ModelName], Field(min_length=1, max_length=20)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AgentDefinition(_Part):
    """One agent. `max_iter` is how many model calls it may make for one task."""

    role: Label
    goal: Text
    backstory: Text
    tools: list[str] = Field(default_factory=list, max_length=50)
    max_iter: int = Field(default=25, ge=1, le=100)
    allow_delegation: bool = False
    model: Models | None = None

    @property
    def models(self) -> list[str]:
        """The agent's own models in order; none where it uses the crew's."""
        return _as_list(self.model)


class TaskDefinition(_Part):
    """One task. `agent` is a key of the crew's agents; `context` names earlier tasks.

    Without `context` a task sees the output of every task before it, as in CrewAI. With
    `human_input` the run waits until a person has approved the task's result.
    """

    name: Name
    description: Text
    expected_output: Text
    agent: str
    context: list[str] | None = None
    async_execution: bool = False
    human_input: bool = False


class CrewBody(_Part):
    """The agents, by key, and the tasks in their order."""

    agents: dict[Name, AgentDefinition] = Field(min_length=1, max_length=50)
    tasks: list[TaskDefinition] = Field(min_length=1, max_length=100)
    process: Literal["sequential", "hierarchical"] = "sequential"
    model: Models | None = None

    @property
    def models(self) -> list[str]:
        """The crew's models in order; none where the tenant or the mesh chooses."""
        return _as_list(self.model)

    @property
    def tools(self) -> list[str]:
        """The tools that any of the agents has, each once."""
        return list(dict.fromkeys(tool for agent in self.agents.values() for tool in agent.tools))


class CrewDefinition(_Part):
    """A crew that can be run by name. `inputs` is the JSON Schema of what a run takes."""

    name: Name
    description: Text
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,62}$")]
    inputs: dict[str, Any] = Field(default_factory=dict)
    crew: CrewBody

    @property
    def dataset_inputs(self) -> list[str]:
        """The names of the inputs that are datasets."""
        properties = self.inputs.get("properties", {})
        return [name for name, prop in properties.items() if prop.get("format") == DATASET_FORMAT]

    def without_models(self) -> CrewDefinition:
        """Return the same crew with no choice of models of its own."""
        agents = {
            key: agent.model_copy(update={"model": None}) for key, agent in self.crew.agents.items()
        }
        body = self.crew.model_copy(update={"agents": agents, "model": None})
        return self.model_copy(update={"crew": body})


def _as_list(model: str | list[str] | None) -> list[str]:
    if model is None:
        return []
    return [model] if isinstance(model, str) else list(model)
