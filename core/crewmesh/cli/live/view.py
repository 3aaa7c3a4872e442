"""A run's state as lines for a terminal of a given size."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from crewmesh.cli.live.state import RunState, TaskState, ToolCall
from crewmesh.cli.text import clean, duration, one_line, plural, size

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS = {
    "pending": ("○", "dim"),
    "queued": ("○", "yellow"),
    "waiting": ("◇", "yellow"),
    "completed": ("✔", "green"),
    "succeeded": ("✔", "green"),
    "failed": ("✘", "red"),
    "cancelled": ("■", "yellow"),
    "timed_out": ("✘", "red"),
}
_TAIL_LINES = 4
# The panel with its borders and the line above it.
_ACTION_HEIGHT = _TAIL_LINES + 3
_SPARE_LINES = 1


def render(state: RunState, now: datetime, *, width: int, height: int) -> RenderableType:
    """Return the view at `now`, which never needs more than `height` lines.

    Where it would, finished tasks are shown without their tool calls, then those of the
    current task are cut to the last ones.
    """
    head = _header(state, now)
    tail = [*_artifact_lines(state), *_note_lines(state)]
    room = height - len(head) - len(tail) - _ACTION_HEIGHT - _SPARE_LINES
    lines = [*head, *_fit(state, now, room), *tail, Text()]
    return Group(*(_clip(line, width) for line in lines), _action_panel(state, width))


def render_finished(state: RunState, now: datetime, *, width: int) -> RenderableType:
    """Return the whole view, of whatever height, as it stays in the terminal."""
    tail = [*_artifact_lines(state), *_note_lines(state)]
    lines = [*_header(state, now), *_task_lines(state, now, 1000, 1000), *tail]
    return Group(*(_clip(line, width) for line in lines))


def _header(state: RunState, now: datetime) -> list[Text]:
    mark, style = _mark(state.status, now)
    begun = state.started_at or state.created_at
    seconds = ((state.finished_at or now) - begun).total_seconds() if begun else 0.0
    facts = [duration(seconds)]
    if state.model_calls:
        facts += [plural(state.tokens, "token"), plural(state.model_calls, "model call")]
    if state.attempt > 1:
        facts.append(f"attempt {state.attempt}")
    status = Text.assemble(
        (f"{mark} ", style),
        (clean(state.crew), "bold"),
        (f"  {state.status.replace('_', ' ')}", style),
        "  " + " · ".join(facts),
    )
    return [status, Text(f"  run {state.run_id}", style="dim"), Text()]


def _fit(state: RunState, now: datetime, room: int) -> list[Text]:
    for of_finished, of_running in ((1000, 1000), (0, 1000), (0, 8), (0, 3), (0, 0)):
        lines = list(_task_lines(state, now, of_finished, of_running))
        if len(lines) <= room:
            return lines
    # More tasks than lines: those around the current one.
    current = next((i for i, task in enumerate(state.tasks) if task.status == "running"), 0)
    first = max(0, min(current - room // 2, len(lines) - room))
    return lines[first : first + max(room, 1)]


def _task_lines(
    state: RunState, now: datetime, of_finished: int, of_running: int
) -> Iterator[Text]:
    name_width = max((len(task.name) for task in state.tasks), default=0)
    agent_width = max((len(task.agent) for task in state.tasks), default=0)
    for task in state.tasks:
        yield _task_line(task, now, name_width, agent_width)
        limit = of_running if task.status == "running" else of_finished
        shown = task.calls[-limit:] if limit else ()
        if task.status == "running" and len(shown) < len(task.calls):
            earlier = plural(len(task.calls) - len(shown), "earlier call")
            yield Text(f"  │ … {earlier}", style="dim")
        tool_width = max((len(call.tool) for call in shown), default=0)
        for call in shown:
            yield _call_line(call, now, tool_width)
        if task.error:
            yield Text(f"  │ {one_line(task.error, 300)}", style="red")


def _task_line(task: TaskState, now: datetime, name_width: int, agent_width: int) -> Text:
    mark, style = _mark(task.status, now)
    waiting = "dim" if task.status == "pending" else ""
    seconds = task.seconds
    if task.status == "running" and task.started_at:
        seconds = (now - task.started_at).total_seconds()
    return Text.assemble(
        (f"  {mark} ", style),
        (task.name.ljust(name_width), waiting),
        (f"  {task.agent.ljust(agent_width)}", waiting or "cyan"),
        ("" if waiting else f"  {duration(seconds)}", "dim"),
    )


def _call_line(call: ToolCall, now: datetime, tool_width: int) -> Text:
    mark, style = _mark(call.status, now)
    seconds = call.seconds
    if call.status == "running":
        seconds = (now - call.started_at).total_seconds()
    return Text.assemble(
        ("  │ ", "dim"),
        (f"{mark} ", style),
        (call.tool.ljust(tool_width), "magenta"),
        (f"  {duration(seconds)}  ", "dim"),
        (one_line(call.error, 200), "red") if call.error else (call.arguments, "dim"),
    )


def _artifact_lines(state: RunState) -> list[Text]:
    lines = []
    for artifact in state.artifacts:
        line = Text.assemble(("  ◆ ", "blue"), one_line(str(artifact["name"]), 80))
        line.append(f"  {size(int(artifact.get('size_bytes') or 0))}", style="dim")
        lines.append(line)
    return lines


def _note_lines(state: RunState) -> list[Text]:
    if state.error:
        return [Text(f"  ! {one_line(state.error, 500)}", style="red")]
    if state.asked:
        return [
            Text(f"  ◇ {state.asked}", style="yellow"),
            Text(f"    answer with: crewmesh runs answer {state.run_id}", style="yellow"),
        ]
    return [Text(f"  ! {state.note}", style="yellow")] if state.note else []


def _action_panel(state: RunState, width: int) -> Panel:
    """Show what the agent does right now: its tool call, or the end of what the model writes."""
    # Narrower than the terminal: a "^C" that it echoes must not begin a new line.
    outer = max(width - 3, 14)
    inner = outer - 4
    task = state.current_task
    calls = [call for call in task.calls if call.status == "running"] if task else []
    who = (task.agent if task else "") or state.agent
    if calls:
        doing, text = calls[-1].tool, calls[-1].arguments
    else:
        doing, text = state.model if state.thinking else "", state.model_text.strip("\n")
    title = one_line(" · ".join(part for part in (who, doing) if part), inner - 4)
    lines = _wrap(text, inner)[-_TAIL_LINES:]
    return Panel(
        Text("\n".join(lines), style="dim", no_wrap=True, overflow="crop"),
        title=Text(title, style="cyan") if title else None,
        title_align="left",
        border_style="dim",
        height=_TAIL_LINES + 2,
        width=outer,
    )


def _wrap(text: str, width: int) -> list[str]:
    lines = []
    for line in text.splitlines() or [""]:
        while len(line) > width:
            cut = line.rfind(" ", 1, width + 1)
            cut = cut if cut > 0 else width
            lines.append(line[:cut])
            line = line[cut:].lstrip()
        lines.append(line)
    return lines


def _clip(line: Text, width: int) -> Text:
    clipped = line.copy()
    clipped.no_wrap = True
    clipped.truncate(width, overflow="ellipsis")
    return clipped


def _mark(status: str, now: datetime) -> tuple[str, str]:
    if status == "running":
        return _SPINNER[int(now.timestamp() * 10) % len(_SPINNER)], "cyan"
    return _MARKS.get(status, ("·", "dim"))
