from __future__ import annotations

from pathlib import Path

import pytest

from crewmesh.common.errors import NotFoundError, StateError
from crewmesh.v1 import run_pb2
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.projects.catalogue import Projects
from crewmesh_worker.projects.preparation import find_version
from crewmesh_worker.projects.project import BrokenProject, Project, write_project
from crewmesh_worker.runs.execution import end_as_failed


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
def catalogue(tmp_path: Path) -> Catalogue:
    broken = BrokenProject("broken", tmp_path, "no such dependency")
    catalogue = Catalogue.load()
    catalogue.serve(Projects([project(tmp_path, "new"), broken], tmp_path))
    return catalogue


def test_projects_are_listed_among_the_crews(catalogue: Catalogue) -> None:
    crews = {crew.name: crew for crew in catalogue.all()}
    assert {"hello", "mine", "broken"} <= crews.keys()
    assert (crews["mine"].kind, crews["mine"].source) == ("flow", "project")
    assert crews["broken"].error == "no such dependency"
    assert catalogue.describe("broken").error
    with pytest.raises(StateError, match="no such dependency"):
        catalogue.get("broken")
    with pytest.raises(NotFoundError, match="mine"):
        catalogue.get("other")


def test_an_earlier_version_is_found_as_long_as_it_is_kept(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    keep(project(tmp_path, "old"), tmp_path)
    assert catalogue.find("mine", "new") == project(tmp_path, "new")
    assert catalogue.find("mine", "old") == project(tmp_path, "old")


def test_a_version_without_its_environment_is_gone(tmp_path: Path) -> None:
    keep(project(tmp_path, "old"), tmp_path, environment=False)
    assert find_version(tmp_path, "mine", "old", tmp_path) is None


def test_a_run_of_a_version_that_is_gone_ends_with_that_code(catalogue: Catalogue) -> None:
    with pytest.raises(NotFoundError) as raised:
        catalogue.find("mine", "older")
    event, transition = end_as_failed(raised.value)
    assert event.type == "run.failed"
    assert transition.status == run_pb2.RUN_STATUS_FAILED
    assert transition.error.code == "crew_version_gone"
