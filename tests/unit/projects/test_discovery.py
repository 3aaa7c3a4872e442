from __future__ import annotations

from pathlib import Path

import pytest

from crewmesh_worker.projects.discovery import (
    Source,
    Unusable,
    find_projects,
    is_project,
    project_name,
)

CREW = '[project]\nname = "{name}"\ndescription = "What it does."\n[tool.crewai]\ntype = "{kind}"\n'
SCRIPTS = '[project.scripts]\ntrain = "my.main:train"\nrun_crew = "my.main:run"\n'


def make(root: Path, text: str) -> Path:
    root.mkdir(parents=True)
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    return root


def test_a_directory_s_projects_are_found_and_others_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path / "one", CREW.format(name="First_Crew", kind="crew") + SCRIPTS)
    make(tmp_path / "two", CREW.format(name="second", kind="flow") + SCRIPTS)
    make(tmp_path / "library", '[project]\nname = "library"\n')
    (tmp_path / "crew.yaml").touch()
    one, two = find_projects(tmp_path)
    assert one == Source(
        tmp_path / "one", "first_crew", "crew", "What it does.", script="my.main:run"
    )
    assert (two.name, isinstance(two, Source) and two.kind) == ("second", "flow")
    assert not is_project(tmp_path)


def test_a_directory_may_be_a_project_itself(tmp_path: Path) -> None:
    root = make(tmp_path / "one", CREW.format(name="one", kind="crew") + SCRIPTS)
    assert is_project(root)
    assert [project.name for project in find_projects(root)] == ["one"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[tool.crewai]\ntype = ", "not TOML"),
        (CREW.format(name="x", kind="tool") + SCRIPTS, "only crew and flow"),
        (CREW.format(name="x", kind="crew"), "nothing to start"),
        (CREW.format(name="x", kind="crew") + 'definition = "../crew.jsonc"\n', "no file of"),
        (CREW.format(name="x", kind="crew") + 'definition = "missing.jsonc"\n', "no file of"),
    ],
)
def test_one_that_cannot_be_read_is_listed_with_its_fault(
    tmp_path: Path, text: str, error: str
) -> None:
    make(tmp_path / "x", text)
    (found,) = find_projects(tmp_path)
    assert isinstance(found, Unusable)
    assert found.name == "x"
    assert error in found.error


def test_two_of_the_same_name_are_a_fault(tmp_path: Path) -> None:
    for directory in ("a", "b"):
        make(tmp_path / directory, CREW.format(name="same", kind="crew") + SCRIPTS)
    (found,) = find_projects(tmp_path)
    assert isinstance(found, Unusable)
    assert "a and b have the same name" in found.error


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("classic", "classic"),
        ("My Crew!", "my-crew"),
        ("snake_case", "snake_case"),
        ("2fast", "project-2fast"),
        ("x" * 80, "x" * 63),
    ],
)
def test_names_are_made_fit(text: str, name: str) -> None:
    assert project_name(text) == name
