from __future__ import annotations

import io
from datetime import timedelta
from functools import reduce

import pytest
from rich.console import Console, RenderableType

from crewmesh.cli.live.state import RunState, apply, from_run
from crewmesh.cli.live.view import render, render_finished
from tests.unit.cli.fake_mesh import BEGAN, CREW, RUN_ID, a_whole_run, event

START = from_run({"id": RUN_ID, "crew": "data-analyst"}, CREW["tasks"])
NOW = BEGAN + timedelta(seconds=2)


def lines(view: RenderableType, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(view)
    return [line.rstrip() for line in capture.get().splitlines()]


def after(count: int) -> RunState:
    return reduce(apply, a_whole_run()[:count], START)


def test_a_running_run_shows_its_tasks_and_what_the_agent_does() -> None:
    shown = lines(render(after(9), NOW, width=100, height=40))
    assert shown[0] == "⠋ data-analyst  running  1.9 s · 120 tokens · 1 model call"
    assert shown[1] == f"  run {RUN_ID}"
    assert shown[3:6] == [
        "  ⠋ profile  Analyst  1.9 s",
        "  │ ⠋ query_sql  1.4 s  sql=SELECT 1",
        "  ○ answer   Writer",
    ]
    assert shown[7].startswith("╭─ Analyst · query_sql ─")
    assert "sql=SELECT 1" in shown[8]


def test_what_the_model_writes_is_shown_as_it_comes() -> None:
    shown = lines(render(after(7), NOW, width=100, height=40))
    assert any("I shall look at the data." in line for line in shown)
    assert any("Analyst · offline" in line for line in shown)


def test_a_finished_run_shows_everything_and_no_panel() -> None:
    assert lines(render_finished(after(16), NOW, width=100)) == [
        "✔ data-analyst  succeeded  2.0 s · 120 tokens · 1 model call",
        f"  run {RUN_ID}",
        "",
        "  ✔ profile  Analyst  0.9 s",
        "  │ ✔ query_sql  0.3 s  sql=SELECT 1",
        "  ✔ answer   Writer   1.0 s",
        "  ◆ chart.png  4.2 kB",
    ]


def test_a_failed_run_shows_why() -> None:
    failed = apply(after(9), event(10, "run.failed", {"code": "x", "message": "no\nmore"}))
    assert lines(render_finished(failed, NOW, width=100))[-1] == "  ! no more"


@pytest.mark.parametrize("height", [10, 14, 20, 30, 50])
@pytest.mark.parametrize("width", [30, 80, 200])
def test_the_view_never_outgrows_the_terminal(width: int, height: int) -> None:
    state = START
    for number in range(1, 300):
        whose = {"task": f"task-{number // 30}", "agent": "A long role of an agent"}
        kind = "task.started" if number % 30 == 0 else "tool.started"
        payload = {"call_id": str(number), "tool": "t", "arguments": {"sql": "x " * 200}}
        state = apply(state, event(number, kind, payload, **whose))
        if number % 13:
            continue
        shown = lines(render(state, NOW, width=width, height=height), width)
        assert len(shown) <= max(height, 12)
        assert all(len(line) <= width for line in shown)


def test_markup_in_a_models_words_is_only_words() -> None:
    state = apply(after(5), event(6, "llm.chunk", {"text": "[bold]not bold[/bold]"}))
    assert any(
        "[bold]not bold[/bold]" in line for line in lines(render(state, NOW, width=80, height=40))
    )


def test_a_waiting_run_says_what_it_asks_and_how_to_answer() -> None:
    asked = event(10, "input.requested", {"prompt": "Pay Ada?"}, at=1)
    state = apply(after(9), asked)  # type: ignore[arg-type]
    shown = lines(render(state, NOW, width=100, height=40))
    assert "waiting" in shown[0]
    assert "  ◇ Pay Ada?" in shown
    assert f"    answer with: crewmesh runs answer {RUN_ID}" in shown
    answered = apply(state, event(11, "input.received", {"text": ""}))  # type: ignore[arg-type]
    assert (answered.status, answered.asked) == ("queued", "")
