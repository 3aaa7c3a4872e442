"""CrewAI's crew definition, and the classic pair of files, as ours.

What ours doesn't have is a fault, unless it is only said that it is off: a key without a
value, or with the value that CrewAI takes by default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crewmesh.common.documents import Place, show_place
from crewmesh.common.errors import Violation
from crewmesh_worker.crews.formats.schemas import OUTPUT_KEYS, derived_schema, is_schema
from crewmesh_worker.crews.hints import CLASS_NAME, PYTHON_REFERENCE, hint
from crewmesh_worker.crews.model import (
    AgentDefinition,
    CrewBody,
    PlanningDefinition,
    TaskDefinition,
)

# They say how a program on a terminal behaves.
DROPPED: Final = frozenset({"verbose", "stream"})
# Values that say nothing that isn't so anyway, besides none, false, and empty ones.
DEFAULTS: Final[dict[str, Any]] = {
    "use_better_compaction": True,
    "create_directory": True,
    "code_execution_mode": "safe",
    "date_format": "%Y-%m-%d",
}
_TYPES: Final = {
    "agent": {"agent", "Agent", "crewai.Agent", "crewai.agent.core.Agent"},
    "task": {"task", "Task", "crewai.Task", "crewai.task.Task"},
}
# By kind of part and key: what ours calls it.
_RENAMED: Final = {("agent", "reasoning"): "planning", ("agent", "llm"): "model"}
_CREW_KEYS: Final = frozenset(CrewBody.model_fields) - {"agents", "tasks"}


@dataclass
class Converted:
    """A definition in our shape, what is wrong with the original, and where its parts were."""

    data: dict[str, Any] = field(default_factory=dict)
    faults: list[Violation] = field(default_factory=list)
    # By places in `data`.
    places: dict[str, str] = field(default_factory=dict)

    def original(self, violation: Violation) -> Violation:
        """Return a fault of `data` with its place in the original."""
        place = violation.field
        for end in sorted(self._ends(place), reverse=True):
            if (found := self.places.get(place[:end])) is not None:
                return Violation(found + place[end:], violation.message)
        return Violation(place.removeprefix("crew."), violation.message)

    @staticmethod
    def _ends(place: str) -> Iterator[int]:
        yield len(place)
        yield from (at for at, character in enumerate(place) if character in ".[")


def convert(document: Mapping[str, Any], name: str) -> Converted:
    """Return CrewAI's definition, or the classic pair as one document, in our shape."""
    return _Conversion(document, name).run()


class _Conversion:
    def __init__(self, document: Mapping[str, Any], name: str) -> None:
        self._document = document
        self._name = name
        self._result = Converted()

    def run(self) -> Converted:
        document = self._document
        body: dict[str, Any] = {}
        if "agents" in document:
            body["agents"] = self._agents(document["agents"])
        if "tasks" in document:
            body["tasks"] = self._tasks(document["tasks"])
        own = ("agents", "tasks", "inputs", "name", "description")
        rest = {key: value for key, value in document.items() if key not in own}
        body.update(self._kept(rest, _CREW_KEYS, (), "crew"))
        self._result.data = {
            "name": self._name,
            "description": document.get("description") or _describe(body),
            "inputs": self._inputs(body),
            "crew": body,
        }
        return self._result

    def _agents(self, agents: Any) -> Any:
        if not isinstance(agents, Mapping | list):
            return agents
        found: dict[str, Any] = {}
        for key, agent, place in self._each_agent(agents):
            if key in found:
                self._fault(place, f"another agent has the key {key!r}")
            found[key] = self._agent(agent, key, place) if isinstance(agent, Mapping) else agent
        return found

    def _each_agent(self, agents: Any) -> Iterator[tuple[str, Any, Place]]:
        if isinstance(agents, Mapping):
            for key, agent in agents.items():
                yield key, agent, ("agents", key)
            return
        for index, agent in enumerate(agents):
            place: Place = ("agents", index)
            if isinstance(agent, Mapping) and isinstance(agent.get("name"), str):
                yield agent["name"], {k: v for k, v in agent.items() if k != "name"}, place
            elif isinstance(agent, Mapping) and len(agent) == 1:
                ((key, only),) = agent.items()
                yield key, only, (*place, key)
            elif isinstance(agent, str):
                self._fault(
                    place,
                    f"the agent {agent!r} is in a file of its own: push the whole directory with "
                    "`crewmesh crews push DIR`, or write the agent here",
                )
            else:
                self._fault(place, "an agent here has a `name`, or is the one value of its key")

    def _agent(self, agent: Mapping[str, Any], key: str, place: Place) -> dict[str, Any]:
        own_place = f"crew.agents.{key}"
        self._result.places[own_place] = show_place(place)
        settings = agent.get("settings")
        rest = {name: value for name, value in agent.items() if name != "settings"}
        kept = self._kept(rest, AgentDefinition.model_fields, place, "agent")
        if isinstance(settings, Mapping):
            inner = (*place, "settings")
            more = self._kept(settings, AgentDefinition.model_fields, inner, "agent")
            for name in more:
                self._result.places[f"{own_place}.{name}"] = show_place((*inner, name))
            kept.update(more)
        elif settings:
            self._fault((*place, "settings"), "an object of the agent's further keys")
        if isinstance(config := kept.get("planning_config"), Mapping):
            kept["planning_config"] = self._kept(
                config, PlanningDefinition.model_fields, (*place, "planning_config"), "planning"
            )
        return kept

    def _tasks(self, tasks: Any) -> Any:
        """Return the tasks as a list; those of a mapping are named by its keys."""
        if isinstance(tasks, Mapping):
            named = []
            for index, (name, task) in enumerate(tasks.items()):
                self._result.places[f"crew.tasks[{index}]"] = show_place(("tasks", name))
                own = self._task(task, ("tasks", name)) if isinstance(task, Mapping) else task
                named.append({"name": name, **own} if isinstance(own, dict) else own)
            return named
        if not isinstance(tasks, list):
            return tasks
        converted = [
            self._task(task, ("tasks", index)) if isinstance(task, Mapping) else task
            for index, task in enumerate(tasks)
        ]
        taken = {task.get("name") for task in converted if isinstance(task, dict)}
        for index, task in enumerate(converted):
            if isinstance(task, dict) and "name" not in task:
                task["name"] = _free_name(index, taken)
        return converted

    def _task(self, task: Mapping[str, Any], place: Place) -> dict[str, Any]:
        kept = self._kept(task, TaskDefinition.model_fields, place, "task")
        for key in OUTPUT_KEYS:
            if isinstance(kept.get(key), str):
                self._fault((*place, key), CLASS_NAME)
                del kept[key]
        return kept

    def _kept(self, part: Mapping[str, Any], keys: Any, place: Place, kind: str) -> dict[str, Any]:
        """Return what of a part ours has, and note every other key that says something."""
        kept = {}
        for key, value in part.items():
            says_nothing = value is None or value is False or value in ("", [], {})
            if value is None or key in DROPPED or (key not in keys and says_nothing):
                continue
            if key == "type" and isinstance(value, str) and value in _TYPES.get(kind, ()):
                continue
            if isinstance(value, Mapping) and set(value) == {"python"}:
                self._fault((*place, key), PYTHON_REFERENCE)
            elif (renamed := _RENAMED.get((kind, key))) is not None and not isinstance(
                value, Mapping
            ):
                kept[renamed] = value
            elif key in keys:
                kept[key] = value
            elif not (key in DEFAULTS and value == DEFAULTS[key]):
                self._fault((*place, key), f"can't be taken: {hint(key)}")
        return kept

    def _inputs(self, body: Mapping[str, Any]) -> Any:
        inputs = self._document.get("inputs") or {}
        if not isinstance(inputs, Mapping):
            self._fault(("inputs",), "an object of default values, or a JSON Schema")
            return {}
        if is_schema(inputs):
            return dict(inputs)
        for name in inputs:
            place = f"inputs.properties.{name}"
            self._result.places[place] = show_place(("inputs", name))
            self._result.places[f"{place}.default"] = show_place(("inputs", name))
        return derived_schema(inputs, body)

    def _fault(self, place: Place, message: str) -> None:
        self._result.faults.append(Violation(show_place(place), message))


def _free_name(index: int, taken: set[Any]) -> str:
    name = f"task_{index + 1}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _describe(body: Mapping[str, Any]) -> str:
    """Return what a crew without a description is said to do."""
    agents = body.get("agents")
    tasks = body.get("tasks")
    roles = [
        " ".join(agent["role"].split())
        for agent in (agents.values() if isinstance(agents, Mapping) else ())
        if isinstance(agent, Mapping) and isinstance(agent.get("role"), str)
    ]
    names = [
        str(task["name"])
        for task in (tasks if isinstance(tasks, list) else ())
        if isinstance(task, Mapping) and "name" in task
    ]
    return f"{', '.join(roles)}: {', '.join(names)}."[:20_000]
