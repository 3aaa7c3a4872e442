"""What we take of CrewAI's definitions becomes the crew that CrewAI's own loader makes of them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from crewai import Agent, Crew, Task
from crewai.agent.planning_config import PlanningConfig
from crewai.project import json_loader
from crewai.project.crew_loader import load_crew_from_definition
from crewai.project.json_loader import (
    _AGENT_RUNTIME_FIELDS,
    _CREW_RUNTIME_FIELDS,
    _TASK_RUNTIME_FIELDS,
)
from pydantic import BaseModel

from crewmesh_worker.crews import build
from crewmesh_worker.crews.build import build_crew
from crewmesh_worker.crews.formats.crewai import DEFAULTS, DROPPED
from crewmesh_worker.crews.formats.reading import definition_of
from crewmesh_worker.crews.hints import hint
from crewmesh_worker.crews.model import (
    AgentDefinition,
    CrewBody,
    PlanningDefinition,
    TaskDefinition,
)
from crewmesh_worker.models import make_llm
from crewmesh_worker.tools.registry import load_tool

SCHEMA = {
    "title": "Brief",
    "type": "object",
    "properties": {
        "title": {"type": "string", "description": "A headline."},
        "points": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
        "mood": {"anyOf": [{"type": "string", "enum": ["good", "bad"]}, {"type": "null"}]},
    },
    "required": ["title", "points"],
    "$defs": {
        "Point": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "weight": {"type": "integer"}},
            "required": ["text"],
        }
    },
}


def agent(role: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "goal": f"Be a {role}", "backstory": "Long ago.", **more}


def task(name: str, by: str | None, **more: Any) -> dict[str, Any]:
    given = {"name": name, "description": f"Do {name}.", "expected_output": "Done.", **more}
    return {**given, "agent": by} if by else given


CORPUS: dict[str, dict[str, Any]] = {
    "the example of CrewAI's own documentation": {
        "agents": {
            "researcher": {
                "role": "Research analyst",
                "goal": "Research {topic}",
                "backstory": "Expert at concise technical research.",
            }
        },
        "tasks": [
            {
                "name": "research_task",
                "description": "Research {topic}.",
                "expected_output": "Key findings about {topic}.",
                "agent": "researcher",
            }
        ],
        "inputs": {"topic": "AI agents"},
    },
    "agents as a list with names": {
        "name": "Named Crew",
        "agents": [{"name": "a", **agent("A")}, {"name": "b", **agent("B")}],
        "tasks": [task("one", "a"), task("two", "b")],
    },
    "agents as a list of single keys": {
        "agents": [{"a": agent("A")}, {"b": agent("B")}],
        "tasks": [task("one", "b"), task("two", "a")],
    },
    "contexts: by default, none, named": {
        "agents": {"a": agent("A"), "b": agent("B")},
        "tasks": [
            task("one", "a"),
            task("two", "b", context=[]),
            task("three", "a", context=["one"]),
            task("four", "b", context=["three", "one"]),
        ],
    },
    "unnamed tasks": {
        "agents": {"a": agent("A")},
        "tasks": [
            {"description": "First.", "expected_output": "x", "agent": "a"},
            {"description": "Second.", "expected_output": "y", "agent": "a"},
        ],
    },
    "every setting of an agent": {
        "agents": {
            "a": agent(
                "A",
                max_iter=3,
                max_rpm=9,
                max_retry_limit=4,
                allow_delegation=True,
                respect_context_window=False,
                use_system_prompt=False,
                inject_date=True,
                cache=False,
                tool_failure_policy="raise",
            ),
            "b": agent("B", settings={"verbose": True, "max_iter": 7, "allow_delegation": True}),
        },
        "tasks": [task("one", "a"), task("two", "b")],
    },
    "planning": {
        "agents": {
            "a": agent("A", planning=True),
            "b": agent("B", planning_config={"reasoning_effort": "low", "max_attempts": 2}),
        },
        "tasks": [task("one", "a"), task("two", "b")],
    },
    "every setting of a task": {
        "agents": {"a": agent("A"), "b": agent("B")},
        "tasks": [
            task("one", "a", async_execution=True, markdown=True, tool_failure_policy="ignore"),
            task("two", "b", human_input=True, guardrail="It is polite.", guardrail_max_retries=1),
            task("three", "b", guardrails=["It is short.", "It is true."], type="Task"),
        ],
    },
    "structured outputs": {
        "agents": {"a": agent("A")},
        "tasks": [task("one", "a", output_pydantic=SCHEMA), task("two", "a", output_json=SCHEMA)],
    },
    "tools of agents and of tasks": {
        "agents": {"a": agent("A", tools=["query_sql", "draw_chart"]), "b": agent("B")},
        "tasks": [
            task("one", "a"),
            task("two", "a", tools=["write_report"]),
            task("three", "b", tools=["profile_dataset"]),
        ],
    },
    "a hierarchy with a manager of its own": {
        "agents": {"chief": agent("Chief"), "a": agent("A"), "b": agent("B")},
        "tasks": [task("one", "a"), task("two", None)],
        "process": "hierarchical",
        "manager_agent": "chief",
    },
    "every setting of a crew": {
        "agents": {"a": agent("A")},
        "tasks": [task("one", "a")],
        "process": "sequential",
        "max_rpm": 30,
        "cache": True,
        "tool_failure_policy": "warn",
        "verbose": True,
        "memory": False,
        "planning": False,
        "output_log_file": None,
        "knowledge_sources": [],
        "inputs": {"word": "x", "n": 3, "share": 0.5, "yes": True, "many": [1], "all": {"a": 1}},
    },
}


@pytest.fixture(autouse=True)
def crewai_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CrewAI's loader makes a client for each agent, and looks for tools in its own package."""
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-used")

    def find(name: str) -> Callable[[], Any]:
        return functools.partial(build._RegisteredTool, load_tool(name))

    monkeypatch.setattr(json_loader, "_find_tool_class", find)


@pytest.mark.parametrize("what", CORPUS)
def test_the_same_crew_is_made_as_by_crewais_own_loader(what: str) -> None:
    document = CORPUS[what]
    theirs, defaults = load_crew_from_definition(json.loads(json.dumps(document)))
    definition = definition_of(document, "mine")
    ours = build_crew(definition, {}, make_llm("offline"))
    assert facts_of(ours) == facts_of(theirs)
    properties = definition.inputs["properties"]
    assert {n: p["default"] for n, p in properties.items() if "default" in p} == defaults


@pytest.mark.parametrize("template", ["crew", "flow/crews/content_crew"])
def test_the_files_of_crewais_templates_become_their_crew(template: str) -> None:
    import crewai_cli

    directory = Path(crewai_cli.__file__).parent / "templates" / template / "config"
    agents = yaml.safe_load((directory / "agents.yaml").read_text(encoding="utf-8"))
    tasks = yaml.safe_load((directory / "tasks.yaml").read_text(encoding="utf-8"))
    for one in tasks.values():
        one.pop("output_file", None)
    listed = [{"name": name, **one} for name, one in tasks.items()]
    theirs, _ = load_crew_from_definition({"agents": agents, "tasks": listed})
    definition = definition_of({"agents": agents, "tasks": tasks}, "mine")
    assert facts_of(build_crew(definition, {}, make_llm("offline"))) == facts_of(theirs)
    assert "topic" in definition.inputs["required"]


@pytest.mark.parametrize(
    ("crewais", "ours", "runtime"),
    [
        (Agent, AgentDefinition, _AGENT_RUNTIME_FIELDS),
        (Task, TaskDefinition, _TASK_RUNTIME_FIELDS),
        (Crew, CrewBody, _CREW_RUNTIME_FIELDS),
        (PlanningConfig, PlanningDefinition, set()),
    ],
)
def test_whatever_crewai_knows_is_taken_or_has_an_answer_what_to_do_instead(
    crewais: type[BaseModel], ours: type[BaseModel], runtime: set[str]
) -> None:
    """When CrewAI gets a new key, somebody has to decide what becomes of it here."""
    nobodys = {"entity_type", "i18n", "name"}
    rest = set(crewais.model_fields) - runtime - set(ours.model_fields) - nobodys
    rest -= DROPPED | DEFAULTS.keys()
    unanswered = {key for key in rest if hint(key) == hint("no key of anybody's")}
    assert unanswered == set()


def facts_of(crew: Crew) -> dict[str, Any]:
    """Return all of a crew that a definition decides."""
    return {
        "agents": [agent_facts(one) for one in crew.agents],
        "tasks": [task_facts(one) for one in crew.tasks],
        "manager": agent_facts(crew.manager_agent) if crew.manager_agent else None,
        "process": crew.process,
        "planning": bool(crew.planning),
        "rest": [crew.max_rpm, crew.cache, crew.tool_failure_policy],
    }


def agent_facts(one: Any) -> dict[str, Any]:
    names = set(AgentDefinition.model_fields) - {"tools", "planning_config", "model"}
    plan = one.planning_config
    return {
        **{name: getattr(one, name) for name in sorted(names)},
        "tools": [tool.name for tool in one.tools or []],
        "plan": plan.model_dump(exclude={"llm"}) if plan else None,
    }


def task_facts(one: Any) -> dict[str, Any]:
    special = {"name", "agent", "context", "tools", "output_json", "output_pydantic"}
    context = one.context if isinstance(one.context, list) else None
    return {
        **{name: getattr(one, name) for name in set(TaskDefinition.model_fields) - special},
        "name": None if one.name in (None, "task_1", "task_2") else one.name,
        "agent": one.agent.role if one.agent else None,
        "context": None if context is None else [earlier.description for earlier in context],
        "tools": [tool.name for tool in one.tools or []],
        "outputs": [
            model.model_json_schema() if model else None
            for model in (one.output_json, one.output_pydantic)
        ],
    }
