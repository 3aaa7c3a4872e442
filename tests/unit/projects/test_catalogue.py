"""The projects of a worker, as a source of its crews."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from crewmesh.common.errors import StateError
from crewmesh.common.identity import Identity
from crewmesh.v1 import crew_pb2
from crewmesh_worker.projects.catalogue import Projects
from crewmesh_worker.projects.preparation import find_version
from crewmesh_worker.projects.project import BrokenProject, Project, write_project

SOMEBODY = Identity("api_gateway", "org", "somebody")
OLD, NEW = "0.1.0+0123456789ab", "0.2.0+0123456789ab"


def project(cache: Path, version: str) -> Project:
    return Project(
        name="mine",
        version=version,
        kind="flow",
        description="Mine.",
        root=cache / "root",
        snapshot=cache / "projects" / "mine" / version / "files",
        python=cache / "environments" / "key" / "bin" / "python",
        entry={"kind": "flow", "definition": "", "script": "mine.main:kickoff"},
        inputs={"type": "object", "properties": {}},
    )


def keep(kept: Project, cache: Path, *, environment: bool = True) -> None:
    directory = kept.snapshot.parent
    kept.snapshot.mkdir(parents=True)
    write_project(kept, directory / "project-1.json")
    (directory / "environment.json").write_text('{"key": "key"}')
    if environment:
        kept.python.parent.mkdir(parents=True, exist_ok=True)
        (cache / "environments" / "key" / ".complete").touch()


@pytest.fixture
def projects(tmp_path: Path) -> Projects:
    broken = BrokenProject("broken", tmp_path, "no such dependency")
    return Projects(tmp_path, [project(tmp_path, NEW), broken])


async def test_projects_are_listed_by_name_and_page(projects: Projects) -> None:
    page = await projects.page("", 1, SOMEBODY)
    assert ([crew.name for crew in page.crews], page.more) == (["broken"], True)
    assert page.crews[0].error == "no such dependency"
    page = await projects.page("broken", 1, SOMEBODY)
    (mine,) = page.crews
    assert (mine.name, mine.version, mine.current_version) == ("mine", NEW, NEW)
    assert (mine.kind, mine.source, page.more) == ("flow", crew_pb2.CREW_SOURCE_PROJECT, False)


async def test_a_project_that_cannot_be_run_is_found_and_says_why(projects: Projects) -> None:
    found = await projects.find("broken", "", SOMEBODY)
    assert found is not None
    with pytest.raises(StateError, match="no such dependency") as raised:
        _ = found.runnable
    assert raised.value.reason == "PROJECT_BROKEN"
    assert await projects.find("other", "", SOMEBODY) is None


async def test_an_earlier_version_is_found_as_long_as_it_is_kept(
    projects: Projects, tmp_path: Path
) -> None:
    old = project(tmp_path, OLD)
    keep(old, tmp_path)
    keep(project(tmp_path, NEW), tmp_path)
    for version, wanted in {"": NEW, NEW: NEW, OLD: OLD}.items():
        found = await projects.find("mine", version, SOMEBODY, pinned=True)
        assert found is not None
        assert found.runnable == project(tmp_path, wanted)
        assert found.current_version == NEW
    assert await projects.find("mine", "0+000000000000", SOMEBODY, pinned=True) is None


async def test_versions_are_listed_newest_first_and_by_page(
    projects: Projects, tmp_path: Path
) -> None:
    made = [f"0.{n}.0+0123456789ab" for n in range(3)]
    for age, version in enumerate(reversed(made)):
        kept = project(tmp_path, version)
        keep(kept, tmp_path)
        os.utime(kept.snapshot.parent / "project-1.json", (1000 - age, 1000 - age))
    found, token = [], ""
    while True:
        page = await projects.versions("mine", 2, token, SOMEBODY)
        assert page is not None
        found += [version.version for version in page.versions]
        token = page.next_page_token
        if not token:
            break
    assert found == made[::-1]
    assert await projects.versions("other", 2, "", SOMEBODY) is None


def test_a_version_without_its_environment_is_gone(tmp_path: Path) -> None:
    keep(project(tmp_path, OLD), tmp_path, environment=False)
    assert find_version(tmp_path, "mine", OLD, tmp_path) is None


@pytest.mark.parametrize("wrong", ["..", "../other/0+0123456789ab", "/etc", "0.1.0", ""])
def test_no_version_leads_elsewhere(tmp_path: Path, wrong: str) -> None:
    elsewhere = replace(project(tmp_path, OLD), snapshot=tmp_path / "other" / OLD / "files")
    keep(elsewhere, tmp_path)
    assert find_version(tmp_path, "mine", wrong, tmp_path) is None
