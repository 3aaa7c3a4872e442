from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from crewmesh.cli.diagnosis import machine
from crewmesh.cli.diagnosis.mesh import check_clock
from tests.unit.cli.conftest import Crewmesh, Outcome
from tests.unit.cli.fake_mesh import FakeMesh


def findings(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in outcome.json}


def test_all_is_well_where_nothing_is_wrong(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    examined = crewmesh("doctor", "--json")
    found = findings(examined)
    assert {f["state"] for f in found.values()} <= {"ok", "warning"}
    assert examined.status == 0
    for check in ("python", "disk", "gateway", "store", "agent_worker", "key", "clock", "version"):
        assert check in found
    assert "Nothing is broken." in crewmesh("doctor").out


def test_what_is_broken_comes_with_a_next_step(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    mesh.dependencies["store"] = "not_serving"
    examined = crewmesh("doctor")
    assert examined.status == 1
    assert "✘ store" in examined.out
    assert "next: look into the log of the store" in examined.out
    assert "Broken: 1." in examined.out
    assert findings(crewmesh("doctor", "--json"))["store"]["state"] == "fault"


def test_a_server_that_is_no_mesh_is_a_finding(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    for path in ("/healthz", "/v1/runs"):
        mesh.problems[path] = [Response("<html>Welcome</html>", media_type="text/html")]
    assert findings(crewmesh("doctor", "--json"))["gateway"]["state"] == "fault"
    listed = crewmesh("runs", "ls")
    assert (listed.status, "check that the address is a mesh's" in listed.err) == (1, True)


def test_a_clock_that_is_off_is_a_warning(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    mesh.clock_ahead = timedelta(minutes=5)
    assert findings(crewmesh("doctor", "--json"))["clock"]["state"] == "warning"
    assert check_clock(10.0).state == "ok"
    assert "behind the mesh's" in check_clock(90.0).detail
    assert "ahead of the mesh's" in check_clock(-90.0).detail


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10), "fault"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "fault")]
)
def test_pythons_are_told_apart(version: tuple[int, int], state: str) -> None:
    assert machine.check_python(version).state == state


@pytest.mark.parametrize(
    ("environment", "state", "word"),
    [
        ({}, "ok", "offline"),
        ({"CREWMESH_MODEL": "offline"}, "ok", "offline"),
        ({"CREWMESH_MODEL": "gpt-4.1"}, "fault", "OPENAI_API_KEY"),
        ({"CREWMESH_MODEL": "openai/gpt-4.1", "OPENAI_API_KEY": "k"}, "ok", "gpt-4.1"),
        ({"CREWMESH_MODEL": "anthropic/claude"}, "fault", "ANTHROPIC_API_KEY"),
        ({"CREWMESH_MODEL": "gemini/x", "GOOGLE_API_KEY": "k"}, "ok", "gemini"),
        ({"CREWMESH_MODEL": "ollama/llama3"}, "ok", "ollama"),
    ],
)
def test_a_model_without_its_key_is_found(
    environment: dict[str, str], state: str, word: str
) -> None:
    found = machine.check_model(environment)
    assert found.state == state
    assert word in found.detail
    assert bool(found.next_step) is (state != "ok")


def test_secrets_that_others_can_read_are_found(tmp_path: Path) -> None:
    assert machine.check_permissions(tmp_path / "none").state == "ok"
    key = tmp_path / "api-key"
    key.write_text("cm_x")
    key.chmod(0o644)
    found = machine.check_permissions(tmp_path)
    assert (found.state, found.next_step) == ("fault", f"chmod 600 {key}")
    key.chmod(0o600)
    assert machine.check_permissions(tmp_path).state == "ok"


def test_a_stale_address_file_is_found(tmp_path: Path) -> None:
    assert machine.check_address_file(tmp_path).state == "ok"
    path = tmp_path / "address.json"
    for pid, state in ((2**22 + 1, "fault"), (os.getpid(), "ok")):
        path.write_text(json.dumps({"url": "http://x", "grpc": "x", "pid": pid}))
        assert machine.check_address_file(tmp_path).state == state


@contextlib.contextmanager
def closed_to_us(directory: Path) -> Iterator[None]:
    """Close a directory; root, whom nothing is closed to, is somebody else meanwhile."""
    root = os.getuid() == 0
    directory.chmod(0o700 if root else 0)
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)
        directory.chmod(0o700)


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_data_directory_of_somebody_elses_is_a_finding_among_the_others(
    crewmesh: Crewmesh, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o711)
        closed = Path(open_to_all, "data")
        data_dir = closed / below
        data_dir.mkdir(parents=True)
        (data_dir / "address.json").write_text("{}")
        monkeypatch.setenv("XDG_CONFIG_HOME", open_to_all)
        monkeypatch.setenv("CREWMESH_DATA_DIR", str(data_dir))
        with closed_to_us(closed):
            examined = crewmesh("doctor", "--json")
            listed = crewmesh("runs", "ls")
    found = findings(examined)
    assert examined.status == 1
    for check in ("data directory", "local mesh", "address"):
        assert found[check]["state"] == "fault"
        assert "run crewmesh as" in found[check]["next_step"]
    assert str(closed) in found["data directory"]["detail"]
    assert (listed.status, "closed to you" in listed.err) == (1, True)
    assert "next: run crewmesh as the user" in listed.err.lower()


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"url": "http://x", "grpc": "x"}', '{"url": 1, "grpc": "", "pid": "1"}'],
)
def test_files_that_are_not_as_we_write_them_are_told_with_a_next_step(
    crewmesh: Crewmesh, tmp_path: Path, content: str
) -> None:
    address = tmp_path / "data/address.json"
    profile = tmp_path / "config/crewmesh/profile.json"
    for path in (address, profile):
        path.parent.mkdir(parents=True)
    address.write_text(content)
    found = findings(crewmesh("doctor", "--json"))
    for check in ("local mesh", "address"):
        assert found[check]["state"] == "fault"
        assert str(address) in found[check]["detail"]
        assert "crewmesh up" in found[check]["next_step"]
    refused = crewmesh("runs", "ls")
    assert (refused.status, str(address) in refused.err) == (1, True)
    profile.write_text(content)
    refused = crewmesh("runs", "ls")
    assert (refused.status, str(profile) in refused.err) == (1, True)
    assert "crewmesh login" in refused.err


@pytest.mark.parametrize(
    ("free", "state"), [(100_000_000, "fault"), (1_000_000_000, "warning"), (10**10, "ok")]
)
def test_a_disk_that_runs_full_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: _Usage(free))
    assert machine.check_disk(tmp_path / "not/yet/there").state == state


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free
