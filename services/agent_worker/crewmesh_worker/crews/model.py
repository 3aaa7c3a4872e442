"""What a crew's definition is made of.

It holds agents, tasks and names of our tools and nothing else. Whatever could import
code, read a path or reach a host (CrewAI's own definitions can do all three) is not in
the model, and a key that isn't in the model is refused.

docs/reference/crew-definition.md is made of the descriptions here. Runner processes
import this module, which therefore imports no gRPC.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DATASET_FORMAT = "dataset"
# In a conversation: what the person says now, and what was said before, as text.
MESSAGE_FORMAT = "session-message"
HISTORY_FORMAT = "session-history"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Key = Annotated[str, Field(pattern=r"^\w[\w -]{0,99}$")]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]
Tools = Annotated[list[str], Field(max_length=50)]
Rpm = Annotated[int, Field(ge=1, le=100_000)]
Retries = Annotated[int, Field(ge=0, le=10)]
JsonSchema = dict[str, Any]
ToolFailurePolicy = Literal["ignore", "warn", "raise"]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,199}$")]
# One, or several in order: the next is used when one fails for good.
Models = ModelName | Annotated[list[ModelName], Field(min_length=1, max_length=20)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PlanningDefinition(_Part):
    """How an agent plans its work on a task."""

    reasoning_effort: Literal["low", "medium", "high"] = Field(
        "medium", description="how much it looks back after each step"
    )
    observe_steps: bool | None = Field(
        None, description="whether a model call judges each step; by default as the effort says"
    )
    max_attempts: int | None = Field(None, ge=1, le=20, description="refinements of the plan")
    max_steps: int = Field(20, ge=1, le=100, description="steps of a plan")
    max_replans: int = Field(3, ge=0, le=20, description="new plans after a failed step")
    max_step_iterations: int = Field(15, ge=1, le=100, description="model calls for a step")


class AgentDefinition(_Part):
    """One agent."""

    role: Label = Field(description="who it is; no two agents have the same role")
    goal: Text = Field(description="what it is after")
    backstory: Text = Field(description="what it brings, and how it works")
    model: Models | None = Field(
        None, description="its model, or several in order; by default the crew's"
    )
    tools: Tools = Field(
        default_factory=list, description="names of tools that it may use; see `crewmesh tools ls`"
    )
    max_iter: int = Field(25, ge=1, le=100, description="model calls that it may make for one task")
    max_rpm: Rpm | None = Field(None, description="model calls a minute")
    max_retry_limit: Retries = Field(2, description="times that it begins anew after an error")
    allow_delegation: bool = Field(False, description="whether it may hand work to other agents")
    respect_context_window: bool = Field(
        True, description="whether a conversation that is too long is summarised"
    )
    use_system_prompt: bool = Field(True, description="false for models without a system prompt")
    inject_date: bool = Field(False, description="whether its tasks say today's date")
    cache: bool = Field(True, description="whether it takes part in the crew's cache")
    tool_failure_policy: ToolFailurePolicy | None = Field(
        None, description="what a failing tool does: nothing, a warning, or an end"
    )
    planning: bool = Field(False, description="whether it plans its steps before it works")
    planning_config: PlanningDefinition | None = Field(None, description="how; implies planning")

    @property
    def models(self) -> list[str]:
        """The agent's own models in order; none where it uses the crew's."""
        return _as_list(self.model)


class TaskDefinition(_Part):
    """One task."""

    name: Key = Field(description="its name, which no other task of the crew has")
    description: Text = Field(description="what to do; `{name}` stands for an input")
    expected_output: Text = Field(description="what the result must be")
    agent: str | None = Field(
        None, description="key of the agent that does it; in a hierarchical crew it may be left out"
    )
    context: list[str] | None = Field(
        None,
        description="names of earlier tasks whose outputs it sees; by default all before it",
    )
    tools: Tools | None = Field(
        None, description="names of tools for this task, instead of the agent's"
    )
    async_execution: bool = Field(False, description="whether the next task begins beside it")
    human_input: bool = Field(
        False, description="whether the run waits until a person has approved the result"
    )
    markdown: bool = Field(False, description="whether the result is asked for as Markdown")
    output_json: JsonSchema | None = Field(
        None,
        description="JSON Schema of the result; the last task's is the run's `output_json`",
    )
    output_pydantic: JsonSchema | None = Field(
        None, description="the same, as CrewAI's other kind of structured output"
    )
    guardrail: Text | None = Field(
        None, description="what a model call checks the result for, before it is taken"
    )
    guardrails: Annotated[list[Text], Field(max_length=10)] | None = Field(
        None, description="several of them"
    )
    guardrail_max_retries: Retries = Field(3, description="new tries after a failed check")
    tool_failure_policy: ToolFailurePolicy | None = Field(
        None, description="instead of the agent's"
    )


class CrewBody(_Part):
    """The agents and the tasks."""

    agents: dict[Key, AgentDefinition] = Field(
        min_length=1, max_length=50, description="agents by key"
    )
    tasks: list[TaskDefinition] = Field(
        min_length=1, max_length=100, description="tasks in their order"
    )
    process: Literal["sequential", "hierarchical"] = Field(
        "sequential", description="in a hierarchical crew a manager hands the tasks out"
    )
    model: Models | None = Field(
        None, description="its model, or several in order; by default the tenant's or the mesh's"
    )
    manager_agent: str | None = Field(
        None, description="key of the agent that manages; without tools, and without a task"
    )
    memory: bool = Field(
        False,
        description="whether it keeps what its tasks brought out and recalls what helps later "
        "ones: of the same session, or of all runs of the organisation without one",
    )
    planning: bool = Field(False, description="whether all tasks are planned before the first")
    max_rpm: Rpm | None = Field(None, description="model calls a minute of all agents together")
    cache: bool = Field(False, description="whether equal tool calls are made once")
    tool_failure_policy: ToolFailurePolicy | None = Field(
        None, description="for agents that have none"
    )

    @property
    def models(self) -> list[str]:
        """The crew's models in order; none where the tenant or the mesh chooses."""
        return _as_list(self.model)

    @property
    def all_tools(self) -> list[str]:
        """The tools that any of the agents has, or any of the tasks, each once."""
        named = [*(a.tools for a in self.agents.values()), *(t.tools or () for t in self.tasks)]
        return list(dict.fromkeys(tool for tools in named for tool in tools))


class ReplyDefinition(_Part):
    """What is said when a part of a message is one of the keywords, and nothing more."""

    keywords: list[Label] = Field(
        min_length=1, max_length=100, description="what a part of the message must be, in any case"
    )
    text: Text = Field(description="the answer; {date}, {time} and {weekday} are those of UTC")


class RepliesDefinition(_Part):
    """Answers to be given without any agent."""

    input: str = Field(description="name of the input that is the message")
    answers: list[ReplyDefinition] = Field(
        min_length=1, max_length=100, description="keywords and what is said to them"
    )


class CrewDefinition(_Part):
    """A crew that can be run by name."""

    name: Name = Field(description="lower-case letters, digits, `-` and `_`")
    description: Text = Field(description="what it does, for who chooses a crew")
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,62}$")] | None = Field(
        None, description="the author's own; needed in files that come with workers"
    )
    inputs: JsonSchema = Field(
        default_factory=dict, description="JSON Schema (2020-12) of what a run takes"
    )
    replies: RepliesDefinition | None = Field(
        None, description="what is answered by keyword, without any agent"
    )
    crew: CrewBody = Field(description="who does what")

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
