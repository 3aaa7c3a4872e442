"""What `crewmesh init` writes, brought up by its compose file, with the wheels of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import yaml

from tests.containers.report import Report, say
from tests.containers.stack import answers, run_program, wait_until

# Where compose.yml says that the mesh answers.
_URL = "http://127.0.0.1:8080"
_PUBLIC_BASE = "FROM python:3.12-slim\n"


class Project:
    """A new project, and its container."""

    def __init__(self, engine: str, compose: str, base: str, wheels: Path, directory: Path) -> None:
        self._engine, self._directory = engine, directory / "project"
        self._environment = {**os.environ, "COMPOSE_PROJECT_NAME": f"crewmesh-init-{os.getpid()}"}
        self._run(sys.executable, "-m", "crewmesh.cli", "init", str(self._directory), cwd=directory)
        shutil.copytree(wheels, self._directory / "wheels")
        here = directory / "here.yml"
        here.write_text(yaml.safe_dump(self._built_here(base)), encoding="utf-8")
        self._compose = [*compose.split(), "--file", "compose.yml", "--file", str(here)]

    def _built_here(self, base: str) -> dict[str, object]:
        """Say to build on `base`, and to take what isn't published yet from the wheels."""
        described = yaml.safe_load((self._directory / "compose.yml").read_text("utf-8"))
        recipe = described["services"]["mesh"]["build"]["dockerfile_inline"]
        assert recipe.startswith(_PUBLIC_BASE), recipe
        # Debian's Python, where that is the base, wants to be asked twice.
        begins = (
            f"FROM {base}\nCOPY wheels /wheels\n"
            "ENV UV_FIND_LINKS=/wheels PIP_BREAK_SYSTEM_PACKAGES=1 UV_BREAK_SYSTEM_PACKAGES=1\n"
        )
        build = {"dockerfile_inline": begins + recipe.removeprefix(_PUBLIC_BASE)}
        return {"services": {"mesh": {"build": build}}}

    def up(self) -> None:
        self._run(*self._compose, "up", "--build", "--detach")

    def down(self, *options: str) -> None:
        self._run(*self._compose, "down", "--timeout", "45", *options)

    def execute(self, *command: str) -> str:
        return self._run(*self._compose, "exec", "-T", "mesh", *command)

    def log(self) -> str:
        command = [*self._compose, "logs", "mesh"]
        return subprocess.run(
            command, cwd=self._directory, env=self._environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ).stdout  # fmt: skip

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        return run_program(command, cwd=cwd or self._directory, environment=self._environment)


def test(project: Project, report: Report) -> None:
    """Its crew runs, and a run is still there when the container has been made anew."""
    say("what `crewmesh init` writes, in its container:")
    try:
        project.up()
        wait_until(answers(f"{_URL}/readyz"), 120, "the project's mesh is ready")
        user = project.execute("id", "-un").strip()
        report.check(user == "mesh", f"the mesh runs as {user}")
        key = project.execute("cat", "/data/api-key").strip()
        with httpx2.Client(
            base_url=_URL, headers={"Authorization": f"Bearer {key}"}, timeout=90, trust_env=False
        ) as client:
            body = {"crew": "greeter", "inputs": {"name": "Ana"}}
            run = client.post("/v1/runs", params={"wait": 60}, json=body).raise_for_status().json()
            report.check(run["status"] == "succeeded", f"its crew's run: {run['status']}")
            project.down()
            project.up()
            wait_until(answers(f"{_URL}/readyz"), 120, "the project's mesh is ready again")
            kept = client.get(f"/v1/runs/{run['id']}").json()
            report.check(
                kept == run, "the run is kept, and the key is accepted, by a new container"
            )
    except BaseException:
        say(project.log())
        raise
    finally:
        project.down("--volumes")
