from __future__ import annotations

import pytest

from crewmesh.cli.live.plain import describe
from crewmesh.cli.live.state import RunState, apply, from_run
from tests.unit.cli.fake_mesh import CREW, RUN_ID, a_whole_run, event

START = from_run({"id": RUN_ID, "crew": "data-analyst"}, CREW["tasks"])

GOLDEN = f"""\
    0.0 s  queued: data-analyst, run {RUN_ID}
    0.1 s  started on worker-1
    0.1 s  task 1/2 profile (Analyst)
    0.9 s    query_sql(sql=SELECT 1) in 0.3 s
    1.0 s  profile done in 0.9 s
    1.0 s  task 2/2 answer (Writer)
    1.5 s    made chart.png (4.2 kB)
    2.0 s  answer done in 1.0 s
    2.1 s  succeeded after 2.0 s with 120 tokens in 1 model call
"""


def told(events: list[dict[str, object]]) -> str:
    state, lines = START, []
    for each in events:
        before, state = state, apply(state, each)  # type: ignore[arg-type]
        if line := describe(before, state, each):  # type: ignore[arg-type]
            lines.append(line + "\n")
    return "".join(lines)


def test_a_whole_run_is_told_in_plain_lines() -> None:
    assert told(a_whole_run()) == GOLDEN


@pytest.mark.parametrize(
    ("kind", "payload", "line"),
    [
        ("tool.failed", {"call_id": "t9", "tool": "t", "error": "no\nway"}, "t() failed: no way"),
        ("task.failed", {"error": "bad"}, "profile failed: bad"),
        ("llm.failed", {"model": "m", "error": "no key"}, "model m failed: no key"),
        ("log", {"level": "info", "message": "\x1b[1mhm"}, "hm"),
        ("run.failed", {"code": "c", "message": "bad"}, "failed after 3.9 s: bad"),
        ("run.cancelled", {"reason": "enough"}, "cancelled after 3.9 s: enough"),
        (
            "run.timed_out",
            {"timeout_seconds": 3},
            "timed out after 3.9 s: it ran into its limit of 3 s",
        ),
        (
            "input.requested",
            {"prompt": "Pay\nAda?"},
            f"waits for a person: Pay Ada? (`crewmesh runs answer {RUN_ID}`)",
        ),
        ("input.received", {"text": "", "approve": True}, "a person approved"),
        ("input.received", {"text": "too much", "approve": False}, "a person refused: too much"),
        ("input.received", {"text": "Lisbon"}, "a person answered: Lisbon"),
        ("run.started", {"worker_id": "w2", "attempt": 2}, "started on w2, attempt 2"),
    ],
)
def test_what_goes_wrong_is_told(kind: str, payload: dict[str, object], line: str) -> None:
    ending = event(4, kind, payload, at=4.0, task="profile", agent="Analyst")
    assert told([*a_whole_run()[:3], ending]).splitlines()[-1].split("s  ", 1)[1].strip() == line


def test_a_task_that_no_agent_does_is_told_without_one() -> None:
    started = event(3, "task.started", {"index": 0, "total": 1}, at=0.1, task="profile")
    assert told([*a_whole_run()[:2], started]).splitlines()[-1].endswith("task 1/1 profile")


def test_the_first_state_is_needed_for_nothing() -> None:
    empty = RunState(RUN_ID, "x")
    assert describe(empty, empty, event(1, "llm.chunk", {"text": "x"})) is None  # type: ignore[arg-type]
