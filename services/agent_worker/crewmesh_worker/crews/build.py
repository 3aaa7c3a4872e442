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
from crewai.agent.planning_config import PlanningConfig
from crewai.llms.base_llm import BaseLLM
from crewai.tools import BaseTool
from crewai.tools.tool_failure import ToolFailurePolicy
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
    outside: bool
    _tool: Tool = PrivateAttr()

    def __init__(self, tool: Tool) -> None:
        super().__init__(
            name=tool.name,
            description=tool.description,
            args_schema=tool.arguments,
            side_effects=tool.side_effects,
            outside=tool.outside,
            result_as_answer=tool.result_as_answer,
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
    manager = agents.pop(body.manager_agent) if body.manager_agent else None
    managed = body.process == "hierarchical"
    crew = Crew(
        name=definition.name,
        agents=list(agents.values()),
        tasks=list(tasks.values()),
        process=Process(body.process),
        manager_agent=manager,
        manager_llm=llm if managed and manager is None else None,
        planning=body.planning,
        planning_llm=llm if body.planning else None,
        max_rpm=body.max_rpm,
        cache=body.cache,
        tool_failure_policy=_policy(body.tool_failure_policy),
        verbose=False,
        memory=False,
        tracing=False,
        share_crew=False,
    )
    _enter_run(definition, inputs, crew)
    return crew


def _enter_run(definition: CrewDefinition, inputs: dict[str, Any], crew: Crew) -> None:
    datasets = {name: inputs[name] for name in definition.dataset_inputs if name in inputs}
    context = enter_run({name: Path(path) for name, path in datasets.items()}, inputs)
    # Numbers in what the person asked for are no claims of the report.
    context.evidence.add([value for name, value in inputs.items() if name not in datasets])

    def earlier_outputs() -> list[str]:
        # Only a task that ran here has a start.
        done = [task for task in crew.tasks if task.output and task.start_time is None]
        return [task.output.raw for task in done if task.output]

    def approved_outputs() -> list[str]:
        done = [task for task in crew.tasks if task.output and task.human_input]
        return [task.output.raw for task in done if task.output]

    context.earlier_outputs = earlier_outputs
    context.approved_outputs = approved_outputs


def _build_agent(agent: AgentDefinition, llm: BaseLLM) -> Agent:
    plan = agent.planning_config
    if isinstance(llm, GuardedModel):
        llm = llm.instead(agent.models)
    return Agent(
        role=agent.role,
        goal=agent.goal,
        backstory=agent.backstory,
        tools=_build_tools(agent.tools),
        max_iter=agent.max_iter,
        max_rpm=agent.max_rpm,
        max_retry_limit=agent.max_retry_limit,
        allow_delegation=agent.allow_delegation,
        respect_context_window=agent.respect_context_window,
        use_system_prompt=agent.use_system_prompt,
        inject_date=agent.inject_date,
        cache=agent.cache,
        tool_failure_policy=_policy(agent.tool_failure_policy),
        planning=agent.planning,
        planning_config=PlanningConfig(**plan.model_dump(), llm=llm) if plan else None,
        llm=llm,
        verbose=False,
    )


def _build_task(task: TaskDefinition, agents: dict[str, Agent], earlier: dict[str, Task]) -> Task:
    # Where these aren't given, CrewAI has something else in mind than none.
    given: dict[str, Any] = {}
    if task.context is not None:
        given["context"] = [earlier[name] for name in task.context]
    if task.tools is not None:
        given["tools"] = _build_tools(task.tools)
    return Task(
        name=task.name,
        description=task.description,
        expected_output=task.expected_output,
        agent=agents[task.agent] if task.agent else None,
        async_execution=task.async_execution,
        human_input=task.human_input,
        markdown=task.markdown,
        output_json=task.output_json,
        output_pydantic=task.output_pydantic,
        guardrail=task.guardrail,
        guardrails=task.guardrails,
        guardrail_max_retries=task.guardrail_max_retries,
        tool_failure_policy=_policy(task.tool_failure_policy),
        **given,
    )


def _build_tools(names: list[str]) -> list[BaseTool]:
    return [_RegisteredTool(_TOOLS[name]) for name in names]


def _policy(policy: str | None) -> ToolFailurePolicy | None:
    return ToolFailurePolicy(policy) if policy else None
