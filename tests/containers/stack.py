"""A stack of docker-compose.yml: brought up, looked into, scaled and taken down."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml
from deploy.compose.make_certificates import make_certificates
from deploy.compose.make_secrets import make_secrets

ROOT = Path(__file__).parents[2]
_FILES = ("docker-compose.yml", "tests/containers/compose.test.yml")


@dataclass
class Stack:
    """One project of compose; its port is on loopback only."""

    engine: str
    compose: str
    directory: Path
    # What docker-compose.yml reads besides, and its profiles.
    settings: Mapping[str, str] = field(default_factory=dict)
    profiles: Sequence[str] = ()
    project: str = field(default_factory=lambda: f"crewmesh-test-{os.getpid()}")

    def __post_init__(self) -> None:
        self.secrets = self.directory / "secrets"
        make_secrets(self.secrets)
        make_certificates(self.secrets / "tls")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "CREWMESH_SECRETS_DIR": str(self.secrets),
            "CREWMESH_PORT": str(self.port),
            "COMPOSE_PROJECT_NAME": self.project,
            **self.settings,
        }

    @property
    def api_key(self) -> str:
        return (self.secrets / "api-key").read_text(encoding="utf-8").strip()

    def up(self, workers: int) -> None:
        """Have as many workers, and everything else of which the images are here."""
        services = self.services(of_profiles=True) if self.profiles else ()
        scale = ("--scale", f"agent-worker={workers}")
        self._compose("up", "--detach", "--no-build", *scale, *services)

    def services(self, *, of_profiles: bool) -> list[str]:
        """Return the names of services of which the images are here: of no profile, and of ours."""
        return [
            name
            for name, service in described().items()
            if not (profiles := service.get("profiles", ()))
            or (of_profiles and set(profiles) & set(self.profiles) and self.has(service["image"]))
        ]

    def has(self, image: str) -> bool:
        """Tell whether an image is on this machine."""
        command = [self.engine, "image", "inspect", image]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def scale_down(self, workers: int) -> None:
        """Stop the newest workers as compose does: asked to end, and given the time to.

        podman-compose starts what is missing and leaves what is too much.
        """
        for name in self.containers("agent-worker")[workers:]:
            self.run(self.engine, "stop", "--time", "45", name)
            self.run(self.engine, "rm", name)

    def down(self) -> None:
        self._compose("down", "--volumes", "--timeout", "20")

    def containers(self, service: str) -> list[str]:
        """Return the names of a service's running containers, oldest first."""
        listed = self.run(
            self.engine, "ps", "--format", "{{.Names}}",
            "--filter", f"label=com.docker.compose.project={self.project}",
            "--filter", f"label=com.docker.compose.service={service}",
        )  # fmt: skip
        # podman-compose numbers them with an underscore, docker with a hyphen.
        return sorted(listed.split(), key=lambda name: int(re.split("[_-]", name)[-1]))

    def execute(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in a service's first container."""
        return subprocess.run(
            [self.engine, "exec", self.containers(service)[0], *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def healthy(self, name: str) -> bool:
        """Run a container's own health check once, as its engine does every few seconds."""
        command = [self.engine, "healthcheck", "run", name]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def image_bytes(self, image: str) -> int:
        (found,) = json.loads(self.run(self.engine, "image", "inspect", image))
        return int(found["Size"])

    def logs(self) -> str:
        """Return the last words of every container."""
        names = self.run(
            self.engine, "ps", "--all", "--format", "{{.Names}}",
            "--filter", f"label=com.docker.compose.project={self.project}",
        ).split()  # fmt: skip
        return "\n".join(f"--- {name}\n{self.log(name, '--tail', '30')}" for name in names)

    def log(self, name: str, *options: str) -> str:
        """Return what a container has said."""
        return subprocess.run(
            [self.engine, "logs", *options, name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        ).stdout  # fmt: skip

    def run(self, *command: str) -> str:
        return run_program(command, cwd=ROOT, environment=self._environment)

    def _compose(self, *arguments: str) -> None:
        files = [part for name in _FILES for part in ("--file", name)]
        profiles = [part for name in self.profiles for part in ("--profile", name)]
        self.run(*self.compose.split(), *files, *profiles, *arguments)


@contextmanager
def running(stack: Stack) -> Iterator[Stack]:
    """The stack with one worker; its volumes and networks go with it."""
    try:
        stack.up(workers=1)
        yield stack
    except BaseException:
        print(stack.logs())  # noqa: T201 - what the test says is what it is for
        raise
    finally:
        stack.down()


def run_program(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> str:
    """Return what a program wrote; end the test with what it said when it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def answers(url: str) -> Callable[[], bool]:
    """Return what asks whether all is well at `url`."""

    def asks() -> bool:
        try:
            return httpx2.get(url, timeout=5, trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    return asks


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Return how many seconds it took; end the test if it doesn't come about."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds:
            raise SystemExit(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)
    return time.monotonic() - started


def described() -> dict[str, dict[str, Any]]:
    """Return what docker-compose.yml says of each service."""
    text = (ROOT / _FILES[0]).read_text(encoding="utf-8")
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return services


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
