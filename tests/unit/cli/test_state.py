from __future__ import annotations

from functools import reduce
from typing import Any

import pytest

from crewmesh.cli.live.state import RunState, apply, from_run, short_arguments
from tests.unit.cli.fake_mesh import CREW, RUN_ID, a_whole_run, event

START = from_run({"id": RUN_ID, "crew": "data-analyst"}, CREW["tasks"])
TASK = {"task": "profile", "agent": "Analyst"}


def after(*events: Any, start: RunState = START) -> RunState:
    return reduce(apply, events, start)


def running() -> RunState:
    return after(
        event(1, "run.queued"),
        event(2, "run.started", {"worker_id": "w", "attempt": 1}, at=1),
        event(3, "task.started", {"index": 0, "total": 2}, at=1, **TASK),
    )


def test_before_the_first_event_the_crews_tasks_are_pending() -> None:
    assert [(task.name, task.status) for task in START.tasks] == [
        ("profile", "pending"),
        ("answer", "pending"),
    ]


def test_a_run_that_goes_well_ends_as_its_events_told() -> None:
    state = after(*a_whole_run())
    assert (state.status, state.output, state.ended) == ("succeeded", "# One", True)
    assert [(task.status, task.seconds) for task in state.tasks] == [
        ("completed", 0.9),
        ("completed", 1.0),
    ]
    assert (state.tokens, state.model_calls, state.last_seq) == (120, 1, 16)
    assert [call.tool for call in state.tasks[0].calls] == ["query_sql"]
    assert [artifact["name"] for artifact in state.artifacts] == ["chart.png"]
    assert state.model_text == ""


@pytest.mark.parametrize(
    ("events", "changed"),
    [
        ([event(4, "agent.started", {}, task="profile", agent="Other")], {"agent": "Other"}),
        ([event(4, "llm.started", {"model": "m"}, **TASK)], {"model": "m", "thinking": True}),
        (
            [event(4, "llm.chunk", {"text": "a"}), event(5, "llm.chunk", {"text": "b"})],
            {"model_text": "ab"},
        ),
        (
            [event(4, "llm.completed", {"usage": {"total_tokens": 5}}), event(5, "llm.completed")],
            {"tokens": 5, "model_calls": 2, "thinking": False},
        ),
        (
            [event(4, "llm.chunk", {"text": "x"}), event(5, "llm.failed", {"error": "no key"})],
            {"note": "the model failed: no key", "model_text": ""},
        ),
        ([event(4, "log", {"level": "info", "message": "hm"})], {"note": "hm"}),
        (
            [event(4, "run.failed", {"code": "crew_error", "message": "bad"})],
            {"status": "failed", "error_code": "crew_error", "error": "bad"},
        ),
        (
            [event(4, "run.cancelled", {"reason": "enough"})],
            {"status": "cancelled", "error": "enough"},
        ),
        (
            [event(4, "run.timed_out", {"timeout_seconds": 30})],
            {"status": "timed_out", "error": "it ran into its limit of 30 s"},
        ),
        (
            [event(4, "run.timed_out", {"code": "input_timed_out", "reason": "nobody answered"})],
            {
                "status": "timed_out",
                "error_code": "input_timed_out",
                "error": "nobody answered",
            },
        ),
        ([event(4, "something.new", {"x": 1})], {"status": "running", "last_seq": 4}),
    ],
)
def test_an_event_changes_what_it_tells_of(events: list[Any], changed: dict[str, Any]) -> None:
    state = after(*events, start=running())
    assert {name: getattr(state, name) for name in changed} == changed


def test_a_tool_call_is_kept_under_its_task_with_its_outcome() -> None:
    started = event(4, "tool.started", {"call_id": "c", "tool": "t", "arguments": {"a": 1}}, **TASK)
    state = after(started, start=running())
    (call,) = state.tasks[0].calls
    assert (call.tool, call.arguments, call.status) == ("t", "a=1", "running")
    failed = event(5, "tool.failed", {"call_id": "c", "error": "no", "duration_ms": 250}, **TASK)
    (call,) = after(failed, start=state).tasks[0].calls
    assert (call.status, call.error, call.seconds, call.arguments) == ("failed", "no", 0.25, "a=1")


def test_a_task_that_fails_keeps_its_error() -> None:
    state = after(event(4, "task.failed", {"error": "no"}, at=3, **TASK), start=running())
    assert (state.tasks[0].status, state.tasks[0].error) == ("failed", "no")
    assert state.tasks[0].seconds == 2.0


def test_a_task_that_the_crew_did_not_announce_is_added() -> None:
    state = after(event(4, "task.started", {}, task="extra", agent="X"), start=running())
    assert [task.name for task in state.tasks] == ["profile", "answer", "extra"]
    assert state.current_task is not None
    assert state.current_task.name == "extra"


def test_a_new_attempt_keeps_finished_tasks_and_begins_the_others_anew() -> None:
    state = after(
        event(4, "task.completed", {"duration_ms": 100}, **TASK),
        event(5, "task.started", {}, task="answer", agent="Writer"),
        event(6, "llm.chunk", {"text": "half a sent"}),
        event(7, "run.queued", at=20),
        event(8, "run.started", {"worker_id": "w2", "attempt": 2}, at=21, attempt=2),
        start=running(),
    )
    assert [task.status for task in state.tasks] == ["completed", "pending"]
    assert (state.attempt, state.model_text, state.status) == (2, "", "running")
    assert state.started_at == running().started_at


def test_applying_an_event_leaves_the_earlier_state_alone() -> None:
    before = running()
    copy = RunState(**{name: getattr(before, name) for name in before.__dataclass_fields__})
    after(*a_whole_run()[3:], start=before)
    assert before == copy


def test_what_models_and_tools_say_can_not_reach_the_terminal() -> None:
    state = after(
        event(4, "llm.chunk", {"text": "\x1b[2Jhello\x07"}),
        event(5, "tool.started", {"call_id": "c", "tool": "t\x1b[1m", "arguments": {"a": "\x1b]0;x\x07y"}}, **TASK),
        start=running(),
    )  # fmt: skip
    (call,) = state.tasks[0].calls
    assert (call.tool, call.arguments) == ("t", "a=y")
    assert (
        after(event(4, "llm.chunk", {"text": "\x1b[2Jhi\x07"}), start=running()).model_text == "hi"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"sql": "SELECT\n  1", "n": 5}, "sql=SELECT 1, n=5"),
        ('{"sql": "x"}', "sql=x"),
        ("not json", "not json"),
        ({}, ""),
        (None, ""),
        ([1, 2], "[1, 2]"),
        ({"deep": {"a": [1]}}, 'deep={"a": [1]}'),
    ],
)
def test_arguments_are_short(arguments: Any, text: str) -> None:
    assert short_arguments(arguments) == text


def test_a_model_that_never_stops_does_not_fill_the_memory() -> None:
    state = after(
        *(event(n, "llm.chunk", {"text": "x" * 1000}) for n in range(4, 40)), start=running()
    )
    assert len(state.model_text) == 4000
