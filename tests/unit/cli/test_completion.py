from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cli.conftest import Crewmesh
from tests.unit.cli.fake_mesh import RUN_ID, FakeMesh

SALES = {
    "id": "0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a11",
    "name": "sales.csv",
    "media_type": "text/csv",
    "size_bytes": 1,
    "sha256": "",
    "created_at": "2026-11-23T06:00:00Z",
}


@pytest.fixture
def tab(crewmesh: Crewmesh, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the shell is offered after a line, whose last word may have begun."""

    def press(line: str) -> list[str]:
        monkeypatch.setenv("_CREWMESH_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        pressed = crewmesh()
        assert (pressed.status, pressed.err) == (0, "")
        return pressed.out.split()

    return press


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("crewmesh run ", ["data-analyst"]),
        ("crewmesh run da", ["data-analyst"]),
        ("crewmesh run x", []),
        ("crewmesh crews show ", ["data-analyst"]),
        ("crewmesh crews rollback data-analyst ", ["2", "1"]),
        ("crewmesh runs show ", [RUN_ID]),
        ("crewmesh runs ls --crew ", ["data-analyst"]),
        ("crewmesh runs ls --status wait", ["waiting"]),
        ("crewmesh datasets get sal", ["sales.csv"]),
        ("crewmesh datasets rm ", [SALES["id"]]),
        ("crewmesh tools show ", ["query_sql"]),
        ("crewmesh keys revoke ", ["k1"]),
        ("crewmesh keys create ci --for ", ["ci@example.org"]),
        ("crewmesh budgets set day --key ", ["k1"]),
        ("crewmesh sessions ls --crew ", ["data-analyst"]),
        (f"crewmesh runs artifact {RUN_ID} ", ["chart.png"]),
    ],
)
def test_names_of_the_mesh_are_offered(
    tab: Any, mesh: FakeMesh, line: str, offered: list[str]
) -> None:
    mesh.datasets.append(SALES)
    assert tab(line) == offered


def test_nothing_is_said_where_no_mesh_answers(tab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tab("crewmesh run ") == []
    monkeypatch.setenv("CREWMESH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CREWMESH_API_KEY", "x")
    assert tab("crewmesh run ") == []


def test_nothing_is_said_where_the_key_is_wrong(
    tab: Any, mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWMESH_API_KEY", "cm_wrong")
    assert tab("crewmesh runs show ") == []
