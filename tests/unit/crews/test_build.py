"""CrewAI's objects of a definition."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crewai import Process

from crewmesh_worker.crews.build import build_crew
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import parse_definition, to_json
from crewmesh_worker.models import make_llm
from crewmesh_worker.runner.environment import zygote_environment

INPUTS = {"data": "/nowhere.csv", "question": "What?"}


@pytest.fixture(autouse=True)
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path))
    monkeypatch.setenv("CREWAI_DISABLE_TELEMETRY", "true")


def two_agents(**changes: Any) -> dict[str, Any]:
    agent = {"goal": "g", "backstory": "b"}
    task = {"description": "Say {word}.", "expected_output": "x"}
    return {
        "name": "pair",
        "description": "Two agents.",
        "version": "1",
        "inputs": {"properties": {"word": {"type": "string", "default": "hi"}}},
        "crew": {
            "agents": {"a": {**agent, "role": "A"}, "b": {**agent, "role": "B", "max_iter": 3}},
            "tasks": [
                {**task, "name": "one", "agent": "a"},
                {**task, "name": "two", "agent": "b", "context": []},
            ],
            **changes,
        },
    }


def test_every_agent_runs_on_the_given_model_with_its_tools() -> None:
    model = make_llm("offline")
    crew = build_crew(Catalogue.load().get("data-analyst"), INPUTS, model)
    assert all(agent.llm is model for agent in crew.agents)
    assert [[tool.name for tool in agent.tools or []] for agent in crew.agents] == [
        ["profile_dataset"],
        ["query_sql", "compute_statistics"],
        ["draw_chart"],
        ["write_report"],
    ]
    assert (crew.verbose, crew.memory, crew.planning, crew.tracing) == (False,) * 4


def test_tasks_see_the_context_that_they_name() -> None:
    crew = build_crew(Catalogue.load().get("data-analyst"), INPUTS, make_llm("offline"))
    contexts = [
        [t.name for t in task.context] if isinstance(task.context, list) else None
        for task in crew.tasks
    ]
    assert contexts == [None, ["profile"], ["analyse"], ["profile", "analyse", "chart"]]


def test_a_definition_from_the_wire_builds_the_same_crew() -> None:
    definition = parse_definition(two_agents())
    for given in (definition, json.loads(to_json(definition))):
        crew = build_crew(given, {"word": "hi"}, make_llm("offline"))
        assert [task.name for task in crew.tasks] == ["one", "two"]
        assert [agent.max_iter for agent in crew.agents] == [25, 3]


def test_a_hierarchical_crew_is_managed_on_the_given_model_and_answers() -> None:
    definition = parse_definition(two_agents(process="hierarchical"))
    model = make_llm("offline")
    crew = build_crew(definition, {"word": "hi"}, model)
    assert crew.process is Process.hierarchical
    assert crew.manager_llm is model
    output: Any = crew.kickoff(inputs={"word": "hi"})
    assert "Say hi." in output.raw


def test_loading_everything_for_a_fork_starts_no_thread_and_brings_no_grpc(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from crewmesh_worker.runner.preload import without_grpc\n"
        "with without_grpc():\n"
        "    import crewmesh_worker.crews.build, crewmesh_worker.models\n"
        "print(len(os.listdir('/proc/self/task')), 'grpc' in sys.modules)"
    )
    environment = zygote_environment("test", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["1", "False"]
