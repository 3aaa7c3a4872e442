"""Commands that find, steer and compare runs, and show the fleet."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Crewmesh
from tests.unit.cli.fake_mesh import RUN_ID, FakeMesh, event


def test_events_are_lines_and_go_on_after_a_number(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    told = crewmesh("runs", "events", RUN_ID, "--after", "14")
    assert [line.split()[0] for line in told.out.splitlines()] == ["15", "16"]
    lines = crewmesh("runs", "events", RUN_ID, "--json").out.splitlines()
    assert [json.loads(line) for line in lines] == mesh.run.events
    followed = crewmesh("runs", "events", RUN_ID, "--follow", "--json", "--after", "15")
    assert [json.loads(line)["seq"] for line in followed.out.splitlines()] == [16]


def test_runs_are_found_by_time_and_text(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    crewmesh("runs", "ls", "--text", "rain", "--after", "2026-11-01", "--session", "s1")
    assert mesh.queries[-1]["q"] == "rain"
    assert mesh.queries[-1]["session_id"] == "s1"
    assert mesh.queries[-1]["created_after"].startswith("2026-11-01T00:00:00")
    assert crewmesh("runs", "ls", "--after", "yesterday").status == 2


def test_artifacts_are_listed_and_saved(crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path) -> None:
    assert "chart.png" in crewmesh("runs", "artifacts", RUN_ID).out
    crewmesh("runs", "artifacts", RUN_ID, "--save", str(tmp_path / "new"))
    crewmesh("runs", "artifacts", RUN_ID, "--save", str(tmp_path / "new"))
    saved = {path.name for path in (tmp_path / "new").iterdir()}
    assert saved == {"chart.png", "a1-chart.png"}


def test_one_artifact_is_saved_by_its_id_or_its_name(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    for named in ("a1", "chart.png"):
        file = tmp_path / named
        assert crewmesh("runs", "artifact", RUN_ID, named, str(file)).status == 0
        assert file.read_bytes() == b"\x89PNG"
    again = crewmesh("runs", "artifact", RUN_ID, "a1", str(tmp_path / "a1"))
    assert (again.status, "name a new file" in again.err) == (2, True)
    missing = crewmesh("runs", "artifact", RUN_ID, "table.csv", str(tmp_path / "table.csv"))
    assert (missing.status, f"crewmesh runs artifacts {RUN_ID}" in missing.err) == (1, True)
    assert not (tmp_path / "table.csv").exists()


def test_a_run_is_retried_once(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    assert crewmesh("runs", "retry", RUN_ID).out.strip() == RUN_ID
    assert mesh.headers[-1]["idempotency-key"]


def test_the_open_question_is_answered(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    mesh.run.events = [*mesh.run.events[:3], event(4, "input.requested", {"prompt": "Well?"})]
    answered = crewmesh("runs", "answer", RUN_ID, "Do it", "--approve")
    assert (answered.status, mesh.asked("POST", f"/v1/runs/{RUN_ID}/input")) == (
        0,
        [{"text": "Do it", "approve": True, "question": 4}],
    )
    assert crewmesh("runs", "answer", RUN_ID).status == 2


def test_no_question_is_told(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    outcome = crewmesh("runs", "answer", RUN_ID, "yes")
    assert outcome.status == 1
    assert f"crewmesh runs show {RUN_ID}" in outcome.err


def test_runs_are_compared(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    told = crewmesh("runs", "compare", RUN_ID, RUN_ID)
    assert "Their answers are the same." in told.out
    assert "≠" not in told.out
    assert crewmesh("runs", "compare", RUN_ID, RUN_ID, "--json").json["output_diff"] == ""
    assert crewmesh("runs", "compare", RUN_ID, "x").status == 2


def test_the_fleet_is_shown(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    assert "worker-1" in crewmesh("workers").out
    mesh.workers.clear()
    assert "No workers." in crewmesh("workers").out
    assert crewmesh("workers", "--json").json["queue"]["queued"] == 2


def test_a_dataset_is_shown_and_downloaded(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("a,b\n1,2\n")
    dataset = crewmesh("datasets", "put", str(source)).out.strip()
    assert "in" in crewmesh("datasets", "show", dataset).out
    target = tmp_path / "out.csv"
    assert crewmesh("datasets", "get", dataset, str(target)).status == 0
    assert target.read_text() == source.read_text()
    assert crewmesh("datasets", "get", dataset, str(target)).status == 2


@pytest.mark.parametrize("width", [40, 200])
def test_tables_fit_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from crewmesh.cli.console import print_table
    from crewmesh.cli.text import clean

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(["RUN", "WHAT"], [[RUN_ID, "words " * 30]])
    lines = clean(capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= width
    # Folded, not cut: an id can be copied.
    first = "".join(line[: len(RUN_ID) if width == 200 else 19].strip() for line in lines[1:])
    assert first == RUN_ID
