"""A mesh to talk to, and a command line that talks to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crewmesh.cli.main import main
from tests.unit.cli.fake_mesh import KEY, FakeMesh, FakeServer


@dataclass
class Outcome:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Crewmesh = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the machine's own configuration is seen or touched."""
    for name in ("CREWMESH_URL", "CREWMESH_API_KEY", "CREWMESH_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CREWMESH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


@pytest.fixture(scope="session")
def fake_server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def mesh(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMesh]:
    """A mesh that the environment names."""
    with fake_server.serving(FakeMesh()) as fake:
        monkeypatch.setenv("CREWMESH_URL", fake.url)
        monkeypatch.setenv("CREWMESH_API_KEY", KEY)
        yield fake


@pytest.fixture
def crewmesh(capsys: pytest.CaptureFixture[str]) -> Crewmesh:
    """Run a command in this process."""

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        status = main(list(arguments))
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run
