"""`crewmesh crews` and `crewmesh tools`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from tests.unit.cli.conftest import Crewmesh
from tests.unit.cli.fake_mesh import FakeMesh

AGENTS = "a:\n  role: R\n  goal: g\n  backstory: b\n"
TASKS = "# tasks\nt:\n  description: d\n  expected_output: e\n  agent: a\n"


def write(directory: Path, **files: str) -> Path:
    """Write files, whose names have `__` for `/` and `_yaml` or `_jsonc` at the end."""
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        path = directory / f"{stem.replace('__', '/')}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return directory


def test_a_file_is_pushed_as_it_is(crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path) -> None:
    text = "# mine\nname: Talk Show\ncrew: {}\n"
    path = write(tmp_path, some_yaml=text) / "some.yaml"
    pushed = crewmesh("crews", "push", str(path))
    assert (pushed.status, mesh.pushed) == (0, [text.encode()])
    assert mesh.asked("PUT", "/v1/crews/talk-show")
    assert mesh.headers[-1]["content-type"] == "application/yaml"
    assert "talk-show is version 3 now." in pushed.out
    assert "crewmesh run talk-show" in pushed.out
    assert "version 3 already" in crewmesh("crews", "push", str(path)).out
    assert crewmesh("crews", "push", str(path), "--json").json["version"] == "3"


@pytest.mark.parametrize("where", ["", "config__", "src__my_crew__config__"])
def test_a_classic_pair_is_pushed_as_one_document(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path, where: str
) -> None:
    directory = tmp_path / "My Crew"
    write(directory, **{f"{where}agents_yaml": AGENTS, f"{where}tasks_yaml": TASKS})
    assert crewmesh("crews", "push", str(directory)).status == 0
    assert json.loads(mesh.pushed[0]) == {
        "agents": {"a": {"role": "R", "goal": "g", "backstory": "b"}},
        "tasks": {"t": {"description": "d", "expected_output": "e", "agent": "a"}},
    }
    assert mesh.requests[-1][1] == "/v1/crews/my-crew"


def test_a_json_project_is_pushed_with_its_agents(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    write(
        tmp_path,
        crew_jsonc='{ // "not" a string\n "name": "Blog", "agents": ["w"],\n "tasks": [],'
        ' /* x */ "manager_agent": "m", "url": "http://x // y", }',
        agents__w_jsonc='{"role": "W", }',
        agents__m_json='{"role": "M"}',
    )
    assert crewmesh("crews", "push", str(tmp_path), "--name", "mine").status == 0
    assert json.loads(mesh.pushed[0]) == {
        "name": "Blog",
        "agents": {"w": {"role": "W"}, "m": {"role": "M"}},
        "tasks": [],
        "manager_agent": "m",
        "url": "http://x // y",
    }
    assert mesh.requests[-1][1] == "/v1/crews/mine"


def test_an_agent_is_a_file_of_the_project_and_of_nowhere_else(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    (tmp_path / "secret.json").write_text("{}", encoding="utf-8")
    project = write(tmp_path / "p", crew_json='{"agents": ["../../secret"], "tasks": []}')
    pushed = crewmesh("crews", "push", str(project))
    assert (pushed.status, mesh.requests) == (2, [])
    assert "whose file is missing" in pushed.err


def test_faults_are_shown_with_the_files_and_lines_where_they_are(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    write(tmp_path, agents_yaml=AGENTS, tasks_yaml=TASKS)
    errors = [
        {"loc": ["body", "tasks", "t", "output_file"], "msg": "two"},
        {"loc": ["body", "agents", "a", "goal"], "msg": "one"},
        {"loc": ["body", "agents", "a", "role"], "msg": "none"},
        {"loc": ["body"], "msg": "three"},
    ]
    problem = {"detail": "it has 3 faults", "code": "invalid_crew", "errors": errors}
    mesh.problems["/v1/crews/mine"] = [JSONResponse(problem, 422)]
    pushed = crewmesh("crews", "push", str(tmp_path), "--name", "mine")
    assert pushed.status == 2
    shown = [line.strip() for line in pushed.err.splitlines()]
    assert [line for line in shown if line.startswith("- ")] == [
        "- (the whole): three",
        "- agents.yaml:2: a.role: none",
        "- agents.yaml:3: a.goal: one",
        "- tasks.yaml:2: t.output_file: two",
    ]


def test_a_fault_in_json_has_its_line_too(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    path = write(tmp_path, my_jsonc='// c\n{\n\t"tasks": [\n\t\t{"x": 1}]\n}') / "my.jsonc"
    errors = [{"loc": ["body", "tasks", 0, "x"], "msg": "no"}]
    mesh.problems["/v1/crews/my"] = [JSONResponse({"detail": "x", "errors": errors}, 422)]
    assert "my.jsonc:4: tasks[0].x: no" in crewmesh("crews", "push", str(path)).err


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({}, "nothing.yaml", "there is no file"),
        ({"a_txt": "x"}, "a.txt", "is no definition"),
        ({"a_yaml": "x"}, ".", "there is no crew in"),
        ({"a_yaml": "x: [1"}, "a.yaml", "line 2"),
        ({"a_yaml": "x: 1\nx: 2"}, "a.yaml", "x: this key is there twice"),
        ({"a_json": '{"x": 1,}'}, "a.json", "not JSON"),
        ({"123_yaml": "x: 1"}, "123.yaml", "--name NAME"),
    ],
)
def test_what_is_no_definition_is_told_before_anything_is_sent(
    crewmesh: Crewmesh,
    mesh: FakeMesh,
    tmp_path: Path,
    files: dict[str, str],
    path: str,
    message: str,
) -> None:
    write(tmp_path, **files)
    pushed = crewmesh("crews", "push", str(tmp_path / path))
    assert (pushed.status, pushed.out, mesh.requests) == (2, "", [])
    assert message in pushed.err


def test_a_text_that_is_not_utf8_is_told(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_bytes(b"x: \xff")
    assert "is not UTF-8" in crewmesh("crews", "push", str(tmp_path / "a.yaml")).err


def test_versions_are_listed_compared_and_gone_back_to(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    assert "1        current" in crewmesh("crews", "versions", "mine").out
    assert crewmesh("crews", "versions", "mine", "--json").json["items"][0]["version"] == "2"
    assert crewmesh("crews", "diff", "mine").out == "--- a\n+++ b\n-x\n"
    assert crewmesh("crews", "diff", "mine", "1", "2", "--json").json["to"] == "2"
    assert "are the same" in crewmesh("crews", "diff", "mine", "1", "1").out
    assert crewmesh("crews", "rollback", "data-analyst", "1").status == 0
    assert mesh.asked("POST", "/v1/crews/data-analyst/rollback") == [{"version": "1"}]
    assert "Removed mine." in crewmesh("crews", "rm", "mine").out
    assert crewmesh("crews", "rm", "mine", "--json").json == {"removed": "mine"}


def test_a_crew_is_shown_as_yaml(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    shown = crewmesh("crews", "show", "data-analyst", "--yaml", "--version", "1")
    assert shown.out == "name: data-analyst\ndescription: |\n  one\n  two\n"


def test_tools_are_listed_and_shown(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    assert "query_sql  once  Runs SQL." in crewmesh("tools", "ls").out
    assert crewmesh("tools", "ls", "--json").json["items"][0]["name"] == "query_sql"
    shown = crewmesh("tools", "show", "query_sql").out
    assert "sql       needed    string, The query." in shown
    assert "the same call is made once" in shown
    assert crewmesh("tools", "show", "query_sql", "--json").json["side_effects"]
    missing = crewmesh("tools", "show", "nothing")
    assert missing.status == 2
    assert "the tools here are query_sql" in missing.err
