"""What a project is made of, found out by loading it once in its own environment."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, Final

from crewmesh.common.errors import CrewmeshError
from crewmesh_worker.crews.inputs import closed_schema
from crewmesh_worker.projects.discovery import Source
from crewmesh_worker.projects.project import Project
from crewmesh_worker.projects.snapshot import ENV_FILE
from crewmesh_worker.runner.environment import project_environment
from crewmesh_worker.runner.overlay import python_command

_MODULE: Final = "crewmesh_worker.projects.inside"
# The first import of everything compiles it, which takes a minute on a slow machine.
_SECONDS: Final = 300.0
_SHOWN_LINES: Final = 8


class ProjectLoadError(CrewmeshError):
    """A project's own code fails when it is loaded; the message has its error."""

    default_reason = "PROJECT_LOAD"


async def inspect_project(
    source: Source, version: str, snapshot: Path, python: Path, overlay: Path
) -> Project:
    """Load the project in a process of its own; return what it says. Raises ProjectLoadError."""
    env_file = source.root / ENV_FILE
    request = {
        "snapshot": str(snapshot),
        "entry": source.entry,
        "env_file": env_file.read_text(encoding="utf-8") if env_file.is_file() else "",
    }
    with tempfile.TemporaryDirectory() as directory:
        found = await _ask(python_command(python, overlay, _MODULE), request, Path(directory))
    return Project(
        name=source.name,
        version=version,
        kind=source.kind,
        description=source.description,
        root=source.root,
        snapshot=snapshot,
        python=python,
        entry=source.entry,
        inputs=closed_schema(found["inputs"]),
        agents=found["agents"],
        tasks=found["tasks"],
    )


async def _ask(command: list[str], request: dict[str, Any], directory: Path) -> dict[str, Any]:
    answer_file = directory / "answer.json"
    work_dir = directory / "work"
    work_dir.mkdir()
    process = await asyncio.create_subprocess_exec(
        *command, str(work_dir), str(answer_file),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=work_dir,
        env=project_environment("", work_dir),
    )  # fmt: skip
    try:
        async with asyncio.timeout(_SECONDS):
            _, errors = await process.communicate(json.dumps(request).encode())
    except TimeoutError:
        raise ProjectLoadError(f"loading it took more than {_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0 or not answer_file.exists():
        said = errors.decode(errors="replace").strip().splitlines()[-_SHOWN_LINES:]
        raise ProjectLoadError(
            f"loading it ended with status {process.returncode}: " + "\n".join(said)
        )
    answer: dict[str, Any] = json.loads(answer_file.read_text(encoding="utf-8"))
    if "error" in answer:
        raise ProjectLoadError(f"it can't be loaded: {answer['error']}")
    return answer
