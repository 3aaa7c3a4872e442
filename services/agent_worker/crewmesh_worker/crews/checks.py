"""What holds between the parts of a crew's definition, which no single field shows.

The checks read plain data and skip what has the wrong shape (the model reports that),
so one answer lists every fault.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from crewmesh.common.errors import Violation
from crewmesh_worker.crews.inputs import schema_faults
from crewmesh_worker.crews.model import HISTORY_FORMAT, MESSAGE_FORMAT
from crewmesh_worker.crews.outputs import output_faults
from crewmesh_worker.crews.replies import reply_faults
from crewmesh_worker.tools.registry import tool_names

# What CrewAI takes for a placeholder.
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_AGENT_TEXTS = ("role", "goal", "backstory")
_TASK_TEXTS = ("description", "expected_output")


def cross_faults(data: object) -> list[Violation]:
    """Return every fault between parts of `data`, a definition as plain data."""
    definition = _mapping(data)
    crew = _mapping(definition.get("crew"))
    agents = {key: _mapping(agent) for key, agent in _mapping(crew.get("agents")).items()}
    tasks = [_mapping(task) for task in _sequence(crew.get("tasks"))]
    schema = _mapping(definition.get("inputs"))
    return [
        *schema_faults(schema, "inputs"),
        *_agent_faults(agents),
        *_task_faults(tasks, agents),
        *_doer_faults(tasks, crew),
        *_output_faults(tasks),
        *_manager_faults(crew, agents),
        *_async_faults(tasks),
        *_placeholder_faults(agents, tasks, schema),
        *reply_faults(_mapping(definition.get("replies")), _mapping(schema.get("properties"))),
        *_conversation_faults(schema),
    ]


def placeholders(crew: Mapping[str, Any]) -> list[str]:
    """Return what the texts of a crew's agents and tasks name as `{name}`, each once."""
    agents = {key: _mapping(agent) for key, agent in _mapping(crew.get("agents")).items()}
    tasks = [_mapping(task) for task in _sequence(crew.get("tasks"))]
    found = (name for _, text in _texts(agents, tasks) for name in _PLACEHOLDER.findall(text))
    return list(dict.fromkeys(found))


def _tool_faults(part: Mapping[str, Any], place: str) -> Iterator[Violation]:
    known = tool_names()
    for index, tool in enumerate(_sequence(part.get("tools"))):
        if isinstance(tool, str) and tool not in known:
            yield Violation(
                f"{place}.tools[{index}]",
                f"no tool is named {tool[:80]!r}; there are: {', '.join(sorted(known))}",
            )


def _agent_faults(agents: Mapping[str, Mapping[str, Any]]) -> Iterator[Violation]:
    for key, agent in agents.items():
        yield from _tool_faults(agent, f"crew.agents.{key}")
    roles = Counter(str(agent.get("role")) for agent in agents.values())
    for key, agent in agents.items():
        if roles[str(agent.get("role"))] > 1:
            yield Violation(f"crew.agents.{key}.role", "another agent has this role")


def _task_faults(
    tasks: list[Mapping[str, Any]], agents: Mapping[str, object]
) -> Iterator[Violation]:
    earlier: set[str] = set()
    for index, task in enumerate(tasks):
        place = f"crew.tasks[{index}]"
        yield from _tool_faults(task, place)
        agent = task.get("agent")
        if isinstance(agent, str) and agent not in agents:
            yield Violation(
                f"{place}.agent", f"no agent has the key {agent!r}; there are: {', '.join(agents)}"
            )
        for position, name in enumerate(_sequence(task.get("context"))):
            if isinstance(name, str) and name not in earlier:
                yield Violation(
                    f"{place}.context[{position}]", f"no task before this one is named {name!r}"
                )
        name = task.get("name")
        if isinstance(name, str):
            if name in earlier:
                yield Violation(f"{place}.name", f"an earlier task is named {name!r} too")
            earlier.add(name)


def _doer_faults(tasks: list[Mapping[str, Any]], crew: Mapping[str, Any]) -> Iterator[Violation]:
    """Yield tasks that nobody does, and checks that nobody makes."""
    managed = crew.get("process") == "hierarchical"
    for index, task in enumerate(tasks):
        place = f"crew.tasks[{index}]"
        if task.get("agent") is not None:
            continue
        if not managed:
            yield Violation(f"{place}.agent", "a task of a sequential crew names its agent")
        for key in ("guardrail", "guardrails"):
            if task.get(key):
                yield Violation(
                    f"{place}.{key}", "the task's agent makes the check: name it in `agent`"
                )


def _output_faults(tasks: list[Mapping[str, Any]]) -> Iterator[Violation]:
    for index, task in enumerate(tasks):
        place = f"crew.tasks[{index}]"
        for key in ("output_json", "output_pydantic"):
            yield from output_faults(task.get(key), f"{place}.{key}")
        for first, second in (("output_json", "output_pydantic"), ("guardrail", "guardrails")):
            if task.get(first) is not None and task.get(second) is not None:
                yield Violation(f"{place}.{second}", f"there is {first} too: give one of them")


def _manager_faults(
    crew: Mapping[str, Any], agents: Mapping[str, Mapping[str, Any]]
) -> Iterator[Violation]:
    manager = crew.get("manager_agent")
    if not isinstance(manager, str):
        return
    place = "crew.manager_agent"
    if crew.get("process") != "hierarchical":
        yield Violation(place, "only a hierarchical crew has a manager: add process: hierarchical")
    if manager not in agents:
        yield Violation(
            place, f"no agent has the key {manager[:80]!r}; there are: {', '.join(agents)}"
        )
        return
    if agents[manager].get("tools"):
        yield Violation(f"crew.agents.{manager}.tools", "the manager has no tools, but its agents")
    if len(agents) == 1:
        yield Violation(place, "there is no other agent to manage")
    for index, task in enumerate(_sequence(crew.get("tasks"))):
        if _mapping(task).get("agent") == manager:
            yield Violation(
                f"crew.tasks[{index}].agent", "the manager hands tasks out, and does none"
            )


def _async_faults(tasks: list[Mapping[str, Any]]) -> Iterator[Violation]:
    by_agent: dict[object, int] = {}
    for index, task in enumerate(tasks):
        if task.get("async_execution") is not True:
            continue
        place = f"crew.tasks[{index}].async_execution"
        agent = task.get("agent")
        if agent in by_agent:
            # CrewAI crashes: an agent has one executor.
            yield Violation(
                place,
                f"task {by_agent[agent]} of the same agent is asynchronous too; "
                "give one of them to another agent",
            )
        by_agent.setdefault(agent, index)
        run_before = [t.get("name") for t in _asynchronous_run(tasks[:index])]
        if set(_sequence(task.get("context"))) & set(run_before):
            yield Violation(place, "it can't run beside a task that is its context")
    if len(_asynchronous_run(tasks)) > 1:
        yield Violation("crew.tasks", "at most one task at the end can be asynchronous")


def _asynchronous_run(tasks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the asynchronous tasks at the end of `tasks`, up to a synchronous one."""
    run: list[Mapping[str, Any]] = []
    for task in reversed(tasks):
        if task.get("async_execution") is not True:
            break
        run.append(task)
    return run


def _placeholder_faults(
    agents: Mapping[str, Mapping[str, Any]],
    tasks: list[Mapping[str, Any]],
    schema: Mapping[str, Any],
) -> Iterator[Violation]:
    properties = _mapping(schema.get("properties"))
    given = {
        name
        for name, prop in properties.items()
        if name in _sequence(schema.get("required")) or "default" in _mapping(prop)
    }
    for place, text in _texts(agents, tasks):
        for name in dict.fromkeys(_PLACEHOLDER.findall(text)):
            if name not in properties:
                yield Violation(place, f"{{{name}}} is none of the inputs")
            elif name not in given:
                yield Violation(
                    place, f"{{{name}}} may be missing: make the input required or give a default"
                )


def _texts(
    agents: Mapping[str, Mapping[str, Any]], tasks: list[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield each text that may name inputs, with its place."""
    parts = [
        *((f"crew.agents.{key}", agent, _AGENT_TEXTS) for key, agent in agents.items()),
        *((f"crew.tasks[{index}]", task, _TASK_TEXTS) for index, task in enumerate(tasks)),
    ]
    for place, part, names in parts:
        for name in names:
            if isinstance(text := part.get(name), str):
                yield f"{place}.{name}", text


def _conversation_faults(schema: Mapping[str, Any]) -> Iterator[Violation]:
    properties = {n: _mapping(p) for n, p in _mapping(schema.get("properties")).items()}
    for form in (MESSAGE_FORMAT, HISTORY_FORMAT):
        names = [name for name, prop in properties.items() if prop.get("format") == form]
        for name in names:
            place = f"inputs.properties.{name}"
            if properties[name].get("type") != "string":
                yield Violation(f"{place}.type", f"an input of the format {form} is a string")
            if name != names[0]:
                yield Violation(f"{place}.format", f"{names[0]!r} has the format {form} already")
            if form == HISTORY_FORMAT and properties[name].get("default") != "":
                yield Violation(
                    f"{place}.default", 'it must be "": the first message has no history'
                )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
