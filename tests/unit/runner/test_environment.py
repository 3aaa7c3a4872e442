from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from crewmesh_worker.runner.environment import MARKER, run_environment, zygote_environment


def test_a_zygote_gets_nothing_of_the_workers_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREWMESH_MESH_SECRET", "hush")
    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    environment = zygote_environment("marker", tmp_path)
    assert "hush" not in environment.values()
    assert environment["PATH"] == os.environ["PATH"]
    assert environment[MARKER] == "marker"
    assert environment["CREWAI_DISABLE_TELEMETRY"] == "true"


def test_a_run_has_its_own_surroundings_and_leaves_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREWAI_TRACING_ENABLED", "false")
    monkeypatch.setenv("HOME", "/home/before")
    before = dict(os.environ), Path.cwd(), tempfile.gettempdir()
    with run_environment(tmp_path, {"TOKEN": "t", "CREWAI_TRACING_ENABLED": "true", "HOME": "/x"}):
        assert os.environ["TOKEN"] == "t"
        assert os.environ["CREWAI_TRACING_ENABLED"] == "false"
        assert os.environ["HOME"] == str(tmp_path)
        assert tempfile.gettempdir() == str(tmp_path)
        assert Path.cwd() == tmp_path
        os.environ["SET_BY_A_TOOL"] = "1"
    assert (dict(os.environ), Path.cwd(), tempfile.gettempdir()) == before
