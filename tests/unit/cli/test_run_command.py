from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Crewmesh
from tests.unit.cli.fake_mesh import RUN_ID, FakeMesh, a_whole_run, event, problem

INPUTS = ["-i", "dataset=d1", "-i", "question=Which month?"]


def test_a_run_prints_progress_apart_from_its_answer(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    ran = crewmesh("run", "data-analyst", *INPUTS, "-i", "charts=3")
    assert (ran.status, ran.out) == (0, "# One\n")
    assert "task 1/2 profile (Analyst)" in ran.err
    assert f"{mesh.url}/v1/artifacts/a1" in ran.err
    assert "\x1b" not in ran.err + ran.out
    assert mesh.asked("POST", "/v1/runs") == [
        {
            "crew": "data-analyst",
            "inputs": {"dataset": "d1", "question": "Which month?", "charts": 3},
        }
    ]


@pytest.mark.parametrize(
    ("kind", "payload", "status"),
    [
        ("run.succeeded", {"output": "ok"}, 0),
        ("run.failed", {"code": "crew_error", "message": "the model refused"}, 1),
        ("run.cancelled", {"reason": "enough"}, 3),
        ("run.timed_out", {"timeout_seconds": 5}, 4),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_exit_status_is_the_runs_outcome(
    crewmesh: Crewmesh,
    mesh: FakeMesh,
    kind: str,
    payload: dict[str, Any],
    status: int,
    options: list[str],
) -> None:
    mesh.run.events = [*a_whole_run()[:3], event(4, kind, payload, at=4)]
    assert crewmesh("run", "data-analyst", *INPUTS, *options).status == status


def test_a_run_that_fails_says_why_and_what_next(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    failure = event(4, "run.failed", {"code": "crew_error", "message": "no \x1b[31mmore"}, at=4)
    mesh.run.events = [*a_whole_run()[:3], failure]
    ran = crewmesh("run", "data-analyst", *INPUTS)
    assert ran.out == ""
    assert f"error: run {RUN_ID} failed" in ran.err
    assert "why:  crew_error: no more" in ran.err
    assert f"crewmesh runs show {RUN_ID}" in ran.err


def test_json_gives_every_event_as_a_line(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    ran = crewmesh("run", "data-analyst", *INPUTS, "--json")
    assert [json.loads(line) for line in ran.out.splitlines()] == a_whole_run()


def test_all_that_a_run_can_be_started_with_is_an_option(
    crewmesh: Crewmesh, mesh: FakeMesh
) -> None:
    options = {
        "--session": "s1", "--priority": "-5", "--timeout": "30", "--max-attempts": "2",
        "--model": "offline", "--max-tokens": "9", "--idempotency-key": "one",
    }  # fmt: skip
    given = [word for option in options.items() for word in option]
    assert crewmesh("run", "data-analyst", *INPUTS, "--detach", *given).status == 0
    body = mesh.asked("POST", "/v1/runs")[0]
    assert body | {"crew": "", "inputs": {}} == {
        "crew": "", "inputs": {}, "session_id": "s1", "priority": -5, "timeout_seconds": 30,
        "max_attempts": 2, "models": ["offline"], "budget": {"max_tokens": 9},
    }  # fmt: skip
    assert mesh.headers[-1]["idempotency-key"] == "one"
    for wrong in (("--priority", "101"), ("--max-attempts", "0"), ("--timeout", "86401")):
        assert crewmesh("run", "data-analyst", *INPUTS, *wrong).status == 2


def test_detach_prints_the_runs_id_and_does_not_wait(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    ran = crewmesh("run", "data-analyst", *INPUTS, "--detach")
    assert (ran.status, ran.out) == (0, RUN_ID + "\n")
    assert mesh.run.connections == []
    assert crewmesh("run", "data-analyst", *INPUTS, "--detach", "--json").json["id"] == RUN_ID


def test_a_file_is_uploaded_and_its_dataset_given(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("month,sum\n1,2\n" * 1000)
    ran = crewmesh("run", "data-analyst", "-f", f"dataset=@{path}", "-i", "question=Which?")
    assert ran.status == 0
    (dataset,) = mesh.datasets
    assert (dataset["name"], dataset["media_type"]) == ("sales", "text/csv")
    assert dataset["size_bytes"] == path.stat().st_size
    assert mesh.asked("POST", "/v1/runs")[0]["inputs"]["dataset"] == dataset["id"]
    assert f"uploaded {path}" in ran.err


def test_a_time_limit_is_passed_on(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    crewmesh("run", "data-analyst", *INPUTS, "--timeout", "30")
    assert mesh.asked("POST", "/v1/runs")[0]["timeout_seconds"] == 30


def test_save_writes_the_answer_and_the_artifacts(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    mesh.run.output = "the whole answer"
    ran = crewmesh("run", "data-analyst", *INPUTS, "--save", str(tmp_path / "out"))
    assert ran.status == 0
    assert (tmp_path / "out/answer.md").read_text() == "the whole answer\n"
    assert (tmp_path / "out/chart.png").read_bytes() == b"\x89PNG"
    assert f"saved {tmp_path}/out/chart.png" in ran.err


def test_an_artifacts_name_can_not_leave_the_folder(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    events = a_whole_run()
    for name in ("../../evil.sh", "answer.md"):
        artifact = {"id": "a1", "name": name, "size_bytes": 1}
        events.insert(14, event(15, "artifact.created", artifact))
    for seq, each in enumerate(events, start=1):
        each["seq"] = seq
    mesh.run.events = events
    crewmesh("run", "data-analyst", *INPUTS, "--save", str(tmp_path / "deep/out"))
    names = {path.relative_to(tmp_path / "deep").as_posix() for path in tmp_path.glob("deep/**/*")}
    assert names == {"out", "out/answer.md", "out/answer-2.md", "out/chart.png", "out/evil.sh"}
    assert (tmp_path / "deep/out/answer.md").read_text() == "# One\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "data-analyst"], "needs inputs dataset, question"),
        (["run", "data-analyst", "-i", "question"], "isn't key=value"),
        (["run", "data-analyst", *INPUTS, "-i", "charts=many"], "must be integer"),
        (["run", "data-analyst", "-f", "dataset=@nothing.csv"], "there is no file"),
        (["run", "data-analist", *INPUTS], "there is no crew 'data-analist'"),
        (["run", "data-analyst", *INPUTS, "--timeout", "0"], "--timeout"),
        (["run"], "Missing argument"),
    ],
)
def test_a_wrong_call_starts_nothing_and_exits_with_2(
    crewmesh: Crewmesh, mesh: FakeMesh, arguments: list[str], complaint: str
) -> None:
    ran = crewmesh(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert complaint in ran.err
    assert "Traceback" not in ran.err
    assert mesh.asked("POST", "/v1/runs") == []


def test_input_that_the_mesh_refuses_exits_with_2(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    faults = [{"loc": ["inputs", "question"], "msg": "is too long"}]
    mesh.problems["/v1/runs"] = [problem(422, "invalid_input", "1 fault", errors=faults)]
    ran = crewmesh("run", "data-analyst", *INPUTS)
    assert ran.status == 2
    assert "- inputs.question: is too long" in ran.err


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "crewmesh.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"it ended without saying {text!r}")


def test_ctrl_c_cancels_the_run_and_waits_for_its_end(mesh: FakeMesh) -> None:
    mesh.run.events = a_whole_run()[:8]
    process = start("run", "data-analyst", *INPUTS)
    wait_for_line(process, "task 1/2")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (3, "")
    assert "Cancelling the run." in err
    assert "cancelled after" in err
    assert "Traceback" not in err
    assert len(mesh.asked("POST", f"/v1/runs/{RUN_ID}/cancel")) == 1


def test_a_second_ctrl_c_only_stops_watching(mesh: FakeMesh) -> None:
    mesh.run.events = a_whole_run()[:8]
    mesh.problems[f"/v1/runs/{RUN_ID}/cancel"] = [problem(409, "wrong_state", "can't be now")]
    process = start("run", "data-analyst", *INPUTS)
    wait_for_line(process, "task 1/2")
    process.send_signal(signal.SIGINT)
    wait_for_line(process, "could not be cancelled: can't be now")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "which is being cancelled" in err
    assert f"crewmesh runs watch {RUN_ID}" in err
    assert "Traceback" not in err


def test_ctrl_c_while_watching_leaves_the_run_alone(mesh: FakeMesh) -> None:
    mesh.run.events = a_whole_run()[:8]
    process = start("runs", "watch", RUN_ID)
    wait_for_line(process, "task 1/2")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "which goes on" in err
    assert mesh.asked("POST", f"/v1/runs/{RUN_ID}/cancel") == []


def test_the_command_line_starts_without_what_takes_long_to_import() -> None:
    code = (
        "import sys; from crewmesh.cli.main import main; status = main(['version']); "
        "heavy = {'grpc', 'httpx2', 'asyncio', 'rich.live', 'structlog'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else status)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
