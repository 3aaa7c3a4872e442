"""What a project's code can do while it is asked what the project is."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from crewmesh_worker.projects import inspection
from crewmesh_worker.projects.discovery import Source
from crewmesh_worker.projects.inspection import Inspectors, ProjectLoadError
from crewmesh_worker.runner.confinement import available
from crewmesh_worker.runner.overlay import make_overlay

pytestmark = [
    pytest.mark.long,  # CrewAI is imported, in an environment of its own
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        available() != ["files", "ports", "signals"], reason="this kernel's Landlock has less"
    ),
]

HOSTILE = """
import os, pathlib, resource, socket, subprocess

def attempt(what):
    try:
        return str(eval(what))
    except BaseException as error:
        return type(error).__name__

left = subprocess.Popen(["sleep", "1000"], start_new_session=True).pid
outcomes = {name: attempt(what) for name, what in ATTEMPTS.items()}
raise RuntimeError(repr({**outcomes, "left": left}))
"""
HANGING = """
import pathlib, subprocess, time

left = subprocess.Popen(["sleep", "1000"], start_new_session=True).pid
pathlib.Path("/dev/shm/NAME").write_text(str(left))
time.sleep(1000)
"""


@dataclass
class Place:
    """Where projects and their environments are; its inspectors confine."""

    cache: Path
    inspectors: Inspectors

    async def inspect(self, code: str) -> str:
        """Have a project loaded whose code fails; return what is said of it."""
        snapshot = self.cache / "snapshot"
        shutil.rmtree(snapshot, ignore_errors=True)
        (snapshot / "hostile").mkdir(parents=True)
        (snapshot / "hostile" / "__init__.py").write_text("")
        (snapshot / "hostile" / "main.py").write_text(code)
        source = Source(self.cache, "hostile", "crew", "-", script="hostile.main:run")
        python = self.cache / "environment" / "bin" / "python"
        with pytest.raises(ProjectLoadError) as raised:
            await self.inspectors.inspect(source, "1", snapshot, python)
        return raised.value.message


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    cache = tmp_path_factory.mktemp("cache")
    (cache / "environment").symlink_to(Path(sys.prefix))
    confinement = {"confined": True, "readable": (cache,), "ports": (443,)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CREWMESH_MESH_SECRET", "a secret of the worker's")
        inspectors = Inspectors(make_overlay(cache), confinement)
        yield Place(cache, inspectors)
        await inspectors.close()


async def test_a_project_is_held_to_what_its_runs_are(place: Place, tmp_path: Path) -> None:
    secret, planted = tmp_path / "secret", place.cache / "snapshot" / "planted.py"
    secret.write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        attempts = {
            "own": "pathlib.Path('made').write_text('x')",
            "home": "pathlib.Path(os.environ['HOME'], 'made').write_text('x')",
            "read": f"pathlib.Path({str(secret)!r}).read_text()",
            "write": f"pathlib.Path({str(planted)!r}).write_text('x')",
            "install": f"pathlib.Path({sys.prefix!r}, 'planted.py').write_text('x')",
            "variables": "os.environ.get('CREWMESH_MESH_SECRET')",
            "worker": f"pathlib.Path('/proc/{os.getpid()}/environ').read_bytes()",
            "signal": f"os.kill({os.getpid()}, 0)",
            "connect": f"socket.create_connection({server.getsockname()!r})",
            "files": "resource.getrlimit(resource.RLIMIT_NOFILE)[0]",
            "core": "resource.getrlimit(resource.RLIMIT_CORE)[0]",
        }
        said = await place.inspect(f"ATTEMPTS = {attempts!r}\n{HOSTILE}")
    outcomes = ast.literal_eval(said.partition("RuntimeError: ")[2])
    left = outcomes.pop("left")
    assert outcomes == {
        **dict.fromkeys(attempts, "PermissionError"),
        "own": "1", "home": "1", "variables": "None", "files": "1024", "core": "0",
    }  # fmt: skip
    assert not psutil.pid_exists(left)
    assert not planted.exists()


async def test_nothing_is_left_of_one_that_takes_too_long(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.inspect("raise ValueError('CrewAI is imported by now')")
    monkeypatch.setattr(inspection, "_SECONDS", 1.0)
    told = Path("/dev/shm", f"crewmesh-test-{os.getpid()}")
    try:
        assert "took more than 1 s" in await place.inspect(HANGING.replace("NAME", told.name))
        assert not psutil.pid_exists(int(told.read_text()))
    finally:
        told.unlink(missing_ok=True)
