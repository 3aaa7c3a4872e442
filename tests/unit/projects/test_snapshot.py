from __future__ import annotations

from pathlib import Path

import pytest

from crewmesh.common.errors import InvalidInputError
from crewmesh_worker.projects import snapshot
from crewmesh_worker.projects.snapshot import content_digest, copy_files, project_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "crew.py").write_text("crew")
    (root / "pyproject.toml").write_text("toml")
    return root


def version(root: Path) -> str:
    return content_digest(root, project_files(root))


def test_what_runs_leave_behind_and_secrets_are_no_part_of_the_version(root: Path) -> None:
    before = version(root)
    for name in (".venv/x", ".git/x", "src/__pycache__/crew.pyc", "logs/x", "run.log", ".env"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    assert version(root) == before


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_any_change_of_a_file_is_another_version(root: Path, change: str) -> None:
    before, path = version(root), root / "src" / "crew.py"
    if change == "content":
        path.write_text("crew!")
    elif change == "name":
        path.rename(path.with_name("other.py"))
    else:
        path.with_name("other.py").write_text("")
    assert version(root) != before


def test_a_copy_is_whole(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "files"
    copy_files(root, project_files(root), target)
    assert version(target) == version(root)
    assert [path.name for path in target.parent.iterdir()] == ["files"]


def test_a_directory_too_large_for_a_project_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_MAX_FILES", 1)
    with pytest.raises(InvalidInputError, match="keep data and results elsewhere"):
        project_files(root)
