"""Makes CrewAI's objects of a crew's definition. Runs in a run's own process.

CrewAI's loader (`crewai.project.crew_loader`) is not used: it builds a provider's client
for every agent before a model can be given (47 ms for one agent; building directly takes
1 ms), and it resolves much that a definition of ours may not say.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.llms.base_llm import BaseLLM
from crewai.tools import BaseTool
from pydantic import BaseModel, PrivateAttr

from crewmesh_worker.crews.model import AgentDefinition, CrewDefinition, TaskDefinition
from crewmesh_worker.models.guarded import GuardedModel
from crewmesh_worker.tools.context import enter_run
from crewmesh_worker.tools.registry import Tool, load_tool, tool_names

# It warns before every model call that tokens are counted approximately.
logging.getLogger("crewai.llms.base_llm").setLevel(logging.ERROR)

# Imported here, once, so that no run has to: runners are forked from a process that has this module.
_TOOLS = {name: load_tool(name) for name in sorted(tool_names())}


class _RegisteredTool(BaseTool):
    """A tool of ours, as CrewAI's agents take them."""

    args_schema: type[BaseModel]
    side_effects: bool
    _tool: Tool = PrivateAttr()

    def __init__(self, tool: Tool) -> None:
        super().__init__(
            name=tool.name,
            description=tool.description,
            args_schema=tool.arguments,
            side_effects=tool.side_effects,
        )
        self._tool = tool

    def _run(self, **arguments: Any) -> str:
        return self._tool.run(self._tool.arguments.model_validate(arguments))


def build_crew(
    definition: CrewDefinition | dict[str, Any], inputs: dict[str, Any], llm: BaseLLM
) -> Crew:
    """Return the crew, ready for `kickoff(inputs=inputs)`; agents without a model run on `llm`.

    `definition` may be what `to_json` wrote, as plain data. `inputs` are complete, those
    that are datasets being paths: they become the tables that the run's tools see.
    """
    definition = CrewDefinition.model_validate(definition)
    body = definition.crew
    agents = {key: _build_agent(agent, llm) for key, agent in body.agents.items()}
    tasks: dict[str, Task] = {}
    for task in body.tasks:
        tasks[task.name] = _build_task(task, agents, tasks)
    crew = Crew(
        name=definition.name,
        agents=list(agents.values()),
        tasks=list(tasks.values()),
        process=Process(body.process),
        manager_llm=llm if body.process == "hierarchical" else None,
        verbose=False,
        memory=False,
        planning=False,
        tracing=False,
        share_crew=False,
    )
    _enter_run(definition, inputs, crew)
    return crew


def _enter_run(definition: CrewDefinition, inputs: dict[str, Any], crew: Crew) -> None:
    datasets = {name: inputs[name] for name in definition.dataset_inputs if name in inputs}
    context = enter_run({name: Path(path) for name, path in datasets.items()})
    # Numbers in what the person asked for are no claims of the report.
    context.evidence.add([value for name, value in inputs.items() if name not in datasets])

    def earlier_outputs() -> list[str]:
        # Only a task that ran here has a start.
        done = [task for task in crew.tasks if task.output and task.start_time is None]
        return [task.output.raw for task in done if task.output]

    context.earlier_outputs = earlier_outputs


def _build_agent(agent: AgentDefinition, llm: BaseLLM) -> Agent:
    return Agent(
        role=agent.role,
        goal=agent.goal,
        backstory=agent.backstory,
        tools=[_RegisteredTool(_TOOLS[name]) for name in agent.tools],
        max_iter=agent.max_iter,
        allow_delegation=agent.allow_delegation,
        llm=llm.instead(agent.models) if isinstance(llm, GuardedModel) else llm,
        verbose=False,
    )


def _build_task(task: TaskDefinition, agents: dict[str, Agent], earlier: dict[str, Task]) -> Task:
    given = {} if task.context is None else {"context": [earlier[name] for name in task.context]}
    return Task(
        name=task.name,
        description=task.description,
        expected_output=task.expected_output,
        agent=agents[task.agent],
        async_execution=task.async_execution,
        human_input=task.human_input,
        **given,
    )
