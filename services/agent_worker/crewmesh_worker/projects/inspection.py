"""What a project is made of, found out by loading it once in its own environment."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from crewmesh.common.errors import CrewmeshError
from crewmesh_worker.crews.inputs import closed_schema
from crewmesh_worker.projects.discovery import Source
from crewmesh_worker.projects.project import Project
from crewmesh_worker.projects.snapshot import ENV_FILE
from crewmesh_worker.runner.environment import project_environment
from crewmesh_worker.runner.overlay import python_command
from crewmesh_worker.runner.settings import RunnerSettings

_MODULE: Final = "crewmesh_worker.projects.inside"
# The first import of everything compiles it, which takes a minute on a slow machine.
_SECONDS: Final = 300.0
_END_SECONDS: Final = 5.0
_SHOWN_LINES: Final = 8


class ProjectLoadError(CrewmeshError):
    """A project's own code fails when it is loaded; the message has its error."""

    default_reason = "PROJECT_LOAD"


class Inspectors:
    """A process for each environment, which asks one project after the other.

    Each project is loaded in a process of its own, confined as its runs are.
    """

    def __init__(self, overlay: Path, confinement: Mapping[str, Any]) -> None:
        """`confinement`: what its fields in RunnerSettings are."""
        self._overlay = overlay
        self._settings = RunnerSettings(slots=1, **confinement)
        self._processes: dict[Path, asyncio.subprocess.Process] = {}
        self._locks: dict[Path, asyncio.Lock] = {}
        self._home = tempfile.TemporaryDirectory()

    async def inspect(self, source: Source, version: str, snapshot: Path, python: Path) -> Project:
        """Load the project where nothing else is; return what it says. Raises ProjectLoadError."""
        env_file = source.root / ENV_FILE
        with tempfile.TemporaryDirectory() as directory:
            request = {
                "snapshot": str(snapshot),
                "entry": source.entry,
                "env_file": env_file.read_text(encoding="utf-8") if env_file.is_file() else "",
                "work_dir": directory,
                "answer_file": f"{directory}/answer.json",
                "output_file": f"{directory}/output",
            }
            async with self._locks.setdefault(python, asyncio.Lock()):
                found = await self._ask(python, request)
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

    async def close(self) -> None:
        """End the processes."""
        await asyncio.gather(*(_end(process) for process in self._processes.values()))
        self._home.cleanup()

    async def _ask(self, python: Path, request: dict[str, Any]) -> dict[str, Any]:
        process = self._processes.get(python) or await self._start(python)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_SECONDS):
                process.stdin.write(json.dumps(request).encode() + b"\n")
                status = (await process.stdout.readline()).strip()
        except TimeoutError:
            await self._drop(python)
            raise ProjectLoadError(f"loading it took more than {_SECONDS:.0f} s") from None
        if not status:
            await self._drop(python)
            raise ProjectLoadError("CrewAI can't be imported in its environment: " + self._said())
        answer_file = Path(request["answer_file"])
        if not answer_file.exists():
            said = _last_lines(Path(request["output_file"]))
            raise ProjectLoadError(f"its process died when it was loaded: {said}")
        answer: dict[str, Any] = json.loads(answer_file.read_text(encoding="utf-8"))
        if "error" in answer:
            raise ProjectLoadError(f"it can't be loaded: {answer['error']}")
        return answer

    async def _start(self, python: Path) -> asyncio.subprocess.Process:
        home = Path(self._home.name)
        with (home / "errors").open("wb") as errors:
            process = self._processes[python] = await asyncio.create_subprocess_exec(
                *python_command(python, self._overlay, _MODULE),
                self._settings.model_dump_json(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=home,
                env=project_environment("", home),
            )
        return process

    async def _drop(self, python: Path) -> None:
        await _end(self._processes.pop(python))

    def _said(self) -> str:
        return _last_lines(Path(self._home.name) / "errors")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process; asked to, it ends what its projects have started first."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_lines(path: Path) -> str:
    if not path.exists():
        return "it said nothing"
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-_SHOWN_LINES:]) or "it said nothing"
