from __future__ import annotations

from pathlib import Path

import pytest

from crewmesh.v1.runner_pb2 import RunnerArtifact
from crewmesh_worker.runner import artifacts


@pytest.fixture
def announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    announced: list[RunnerArtifact] = []
    with artifacts.saving(tmp_path, announced.append):
        yield announced


def test_what_is_stored_is_what_was_saved(announced: list[RunnerArtifact], tmp_path: Path) -> None:
    Path("report.md").write_text("first")
    artifacts.save("report.md")
    Path("report.md").write_text("second")
    artifacts.save(tmp_path / "report.md", "final.txt", "text/x-final")
    assert [(a.name, a.media_type) for a in announced] == [
        ("report.md", "text/markdown"),
        ("final.txt", "text/x-final"),
    ]
    assert [(tmp_path / a.path).read_text() for a in announced] == ["first", "second"]


def test_a_type_that_the_suffix_does_not_tell_is_bytes(announced: list[RunnerArtifact]) -> None:
    Path("model.weights9").write_bytes(b"\x00")
    artifacts.save("model.weights9")
    assert announced[0].media_type == "application/octet-stream"


@pytest.mark.parametrize("path", ["/etc/hostname", "../elsewhere", "link"])
def test_a_file_from_elsewhere_is_refused(announced: list[RunnerArtifact], path: str) -> None:
    Path("link").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="not in the run's working directory: write it there"):
        artifacts.save(path)
    assert announced == []


def test_a_missing_file_is_refused(announced: list[RunnerArtifact]) -> None:
    with pytest.raises(FileNotFoundError):
        artifacts.save("never-written.csv")
    assert announced == []


def test_saving_is_for_runs_only() -> None:
    with pytest.raises(LookupError):
        artifacts.save("report.md")
