"""What a project is, as far as it can be known without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from crewmesh_worker.models import make_llm
from crewmesh_worker.projects.inside.inputs import inputs_schema
from crewmesh_worker.projects.inside.loading import Loaded, load
from crewmesh_worker.projects.inside.models import exchanged_models, skip_keyless_flow_memory
from crewmesh_worker.projects.inside.workspace import Workspace
from crewmesh_worker.runner.environment import add_variables, run_environment


def inspect(request: dict[str, Any]) -> dict[str, Any]:
    """Load the project as a run would, with no model; return its inputs, agents and tasks.

    This process has the project's modules afterwards, and is of no other use.
    """
    workspace = Workspace(Path(request["work_dir"]), lambda path, name: None)
    workspace.fill(Path(request["snapshot"]), None, request["env_file"])
    with (
        run_environment(workspace.directory, {}, workspace.home),
        exchanged_models(lambda: make_llm("offline"), True, lambda _: None, lambda model: model),
    ):
        add_variables(dotenv_values(".env"))
        skip_keyless_flow_memory()
        loaded = load(workspace.directory, request["entry"])
        return {"inputs": inputs_schema(loaded), **_parts(loaded)}


def _parts(loaded: Loaded) -> dict[str, Any]:
    if loaded.is_flow:
        names = loaded.target._methods
        return {"agents": [], "tasks": [_task(str(name), "", "", "") for name in names]}
    crew = loaded.target
    agents = [
        {"role": a.role.strip(), "goal": a.goal.strip(), "tools": [t.name for t in a.tools or ()]}
        for a in crew.agents
    ]
    tasks = [
        _task(t.name or "", t.description, t.expected_output, t.agent.role if t.agent else "")
        for t in crew.tasks
    ]
    return {"agents": agents, "tasks": tasks}


def _task(name: str, description: str, expected_output: str, agent: str) -> dict[str, str]:
    return {
        "name": name,
        "description": description.strip(),
        "expected_output": expected_output.strip(),
        "agent": agent.strip(),
    }
