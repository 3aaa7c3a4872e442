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
# In a conversation: what the person says now, and what was said before, as text.
MESSAGE_FORMAT = "session-message"
HISTORY_FORMAT = "session-history"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]


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
    """The agents, by key, and the tasks in their order.

    With `memory`, the crew keeps what its tasks brought out and recalls what helps with
    later ones: of the same session, or of all runs of the organisation without one.
    """

    agents: dict[Name, AgentDefinition] = Field(min_length=1, max_length=50)
    tasks: list[TaskDefinition] = Field(min_length=1, max_length=100)
    process: Literal["sequential", "hierarchical"] = "sequential"
    memory: bool = False


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
        return self._inputs_of(DATASET_FORMAT)

    @property
    def message_input(self) -> str | None:
        """The name of the input that is a session's message; None where nobody can talk to it."""
        return next(iter(self._inputs_of(MESSAGE_FORMAT)), None)

    @property
    def history_input(self) -> str | None:
        """The name of the input that gets what was said before."""
        return next(iter(self._inputs_of(HISTORY_FORMAT)), None)

    def _inputs_of(self, form: str) -> list[str]:
        properties = self.inputs.get("properties", {})
        return [name for name, prop in properties.items() if prop.get("format") == form]
