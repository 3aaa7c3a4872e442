"""`python -m crewmesh_worker.projects.inside WORK_DIR ANSWER_FILE`: tells what a project is.

It reads {snapshot, entry, env_file} as JSON from its input and writes {inputs, agents,
tasks}, or {error}, to the file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import structlog
from dotenv import dotenv_values

from crewmesh_worker.projects.inside.inputs import inputs_schema
from crewmesh_worker.projects.inside.loading import Loaded, load
from crewmesh_worker.projects.inside.models import exchanged_models, skip_keyless_flow_memory
from crewmesh_worker.projects.inside.workspace import Workspace
from crewmesh_worker.runner.environment import add_variables

log = structlog.get_logger(__name__)


def main() -> None:
    """Load the project as a run would, say what it is, and end without its leave."""
    request = json.loads(sys.stdin.read())
    answer: dict[str, Any]
    try:
        answer = _inspect(request, Path(sys.argv[1]))
    except BaseException as error:
        log.error("the project can't be loaded", exc_info=error)
        answer = {"error": f"{type(error).__name__}: {error}"[:4000]}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)  # whatever the project has started goes with it


def _inspect(request: dict[str, Any], work_dir: Path) -> dict[str, Any]:
    from crewmesh_worker.models import make_llm

    workspace = Workspace(work_dir, lambda path, name: None)
    workspace.fill(Path(request["snapshot"]), None, request["env_file"])
    os.chdir(workspace.directory)
    add_variables(dotenv_values(".env"))
    with exchanged_models(lambda: make_llm("offline"), True, lambda _: None):
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


if __name__ == "__main__":
    main()
