"""A run that tools work for, with real files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crewmesh.v1.runner_pb2 import RunnerArtifact
from crewmesh_worker.runner import artifacts
from crewmesh_worker.tools.context import RunContext, enter_run
from crewmesh_worker.tools.registry import load_tool

SALES = [
    ("day", "shop", "amount", "note"),
    ("2024-01-01", "north", "10.5", "a"),
    ("2024-01-02", "south", "20.25", ""),
    ("2024-02-01", "north", "30", "c"),
    ("2024-02-02", "south", "", "d"),
]


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(SALES)
    return path


@pytest.fixture
def saved() -> list[RunnerArtifact]:
    return []


@pytest.fixture
def run(
    sales: Path, tmp_path: Path, saved: list[RunnerArtifact], monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunContext]:
    """A run over the sales, in a directory of its own."""
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    with artifacts.saving(directory, saved.append):
        yield enter_run({"data": sales})


@pytest.fixture
def call(run: RunContext) -> Callable[..., str]:
    """Call a tool by its name, with arguments as a model gives them."""

    def call(name: str, **arguments: object) -> str:
        tool = load_tool(name)
        return tool.run(tool.arguments.model_validate(arguments))

    return call
