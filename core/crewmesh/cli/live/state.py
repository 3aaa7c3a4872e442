"""What is known of a run while it goes on: a pure fold over its events.

`apply(state, event)` returns the next state and touches nothing else. Text that
models and tools produce is made safe for terminals here, where it comes in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from crewmesh.cli.client import Event
from crewmesh.cli.text import clean, one_line, parse_time

_TAIL_CHARACTERS = 4_000
_KEPT_CALLS = 200


@dataclass(frozen=True)
class ToolCall:
    """One use of a tool. `status` is running, completed or failed."""

    call_id: str
    tool: str
    arguments: str
    started_at: datetime
    status: str = "running"
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class TaskState:
    """One task. `status` is pending, running, completed or failed."""

    name: str
    agent: str = ""
    status: str = "pending"
    started_at: datetime | None = None
    seconds: float = 0.0
    calls: tuple[ToolCall, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class RunState:
    """A run, as far as its events have told of it.

    `model_text` is the end of what the model is writing now, empty in between;
    `tokens` and `model_calls` are sums over the model calls seen, and then the run's own.
    """

    run_id: str
    crew: str
    status: str = "queued"
    attempt: int = 0
    last_seq: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    tasks: tuple[TaskState, ...] = ()
    agent: str = ""
    model: str = ""
    model_text: str = ""
    thinking: bool = False
    tokens: int = 0
    model_calls: int = 0
    artifacts: tuple[Mapping[str, Any], ...] = ()
    note: str = ""
    # What a person is asked, while the run waits for one.
    asked: str = ""
    output: str = ""
    error_code: str = ""
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether the terminal event has come."""
        return self.finished_at is not None

    @property
    def current_task(self) -> TaskState | None:
        """Return the task that runs now, the last that began if there are several."""
        running = [task for task in self.tasks if task.status == "running"]
        return running[-1] if running else None

    def task(self, name: str) -> TaskState | None:
        """Return the task of that name."""
        return next((task for task in self.tasks if task.name == name), None)


def from_run(run: Mapping[str, Any], tasks: list[Mapping[str, Any]]) -> RunState:
    """Return the state of a run before its first event; `tasks` are its crew's."""
    planned = tuple(TaskState(clean(task["name"]), clean(task["agent"])) for task in tasks)
    return RunState(run["id"], run["crew"], tasks=planned)


def apply(state: RunState, event: Event) -> RunState:
    """Return the state after `event`. Events of unknown types only move the number."""
    state = replace(state, last_seq=event["seq"])
    handle = _HANDLERS.get(event["type"])
    return handle(state, _Seen(event)) if handle else state


@dataclass(frozen=True)
class _Seen:
    event: Event
    at: datetime = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", parse_time(self.event["at"]))

    @property
    def task(self) -> str:
        return clean(self.event.get("task") or "")

    @property
    def agent(self) -> str:
        return clean(self.event.get("agent") or "")

    def text(self, name: str) -> str:
        value = self.event["payload"].get(name)
        return "" if value is None else clean(str(value))

    def number(self, name: str) -> float:
        value = self.event["payload"].get(name)
        return float(value) if isinstance(value, int | float) else 0.0

    @property
    def seconds(self) -> float:
        return self.number("duration_ms") / 1000


def _run_queued(state: RunState, seen: _Seen) -> RunState:
    return replace(state, status="queued", created_at=state.created_at or seen.at)


def _run_started(state: RunState, seen: _Seen) -> RunState:
    # An attempt goes on after the last finished task; what was under way begins anew.
    tasks = tuple(
        task if task.status == "completed" else TaskState(task.name, task.agent)
        for task in state.tasks
    )
    return replace(
        state,
        status="running",
        attempt=int(seen.number("attempt")) or seen.event["attempt"],
        started_at=state.started_at or seen.at,
        tasks=tasks,
        asked="",
        model_text="",
        thinking=False,
    )


def _task_started(state: RunState, seen: _Seen) -> RunState:
    task = TaskState(seen.task, seen.agent, "running", seen.at)
    return replace(_put_task(state, task), agent=seen.agent or state.agent, model_text="")


def _agent_started(state: RunState, seen: _Seen) -> RunState:
    return replace(state, agent=seen.agent or state.agent)


def _tool_started(state: RunState, seen: _Seen) -> RunState:
    arguments = short_arguments(seen.event["payload"].get("arguments"))
    call = ToolCall(seen.text("call_id"), seen.text("tool"), arguments, seen.at)
    return _put_call(replace(state, model_text=""), seen, call)


def _llm_started(state: RunState, seen: _Seen) -> RunState:
    return replace(state, model=seen.text("model"), model_text="", thinking=True)


def _llm_chunk(state: RunState, seen: _Seen) -> RunState:
    return replace(state, model_text=(state.model_text + seen.text("text"))[-_TAIL_CHARACTERS:])


def _llm_completed(state: RunState, seen: _Seen) -> RunState:
    usage = seen.event["payload"].get("usage") or {}
    return replace(
        state,
        thinking=False,
        tokens=state.tokens + int(usage.get("total_tokens") or 0),
        model_calls=state.model_calls + 1,
    )


def _llm_failed(state: RunState, seen: _Seen) -> RunState:
    note = "the model failed: " + one_line(seen.text("error"), 200)
    return replace(state, thinking=False, model_text="", note=note)


def _artifact_created(state: RunState, seen: _Seen) -> RunState:
    return replace(state, artifacts=(*state.artifacts, seen.event["payload"]))


def _log(state: RunState, seen: _Seen) -> RunState:
    return replace(state, note=one_line(seen.text("message"), 200))


def _input_requested(state: RunState, seen: _Seen) -> RunState:
    asked = one_line(seen.text("prompt"), 300) or "an answer"
    return replace(state, status="waiting", asked=asked, model_text="", thinking=False)


def _input_received(state: RunState, seen: _Seen) -> RunState:
    # It is queued until a worker takes it up again.
    return replace(state, status="queued", asked="")


def _run_succeeded(state: RunState, seen: _Seen) -> RunState:
    usage = seen.event["payload"].get("usage") or {}
    return replace(
        _end_run(state, seen, "succeeded"),
        output=seen.text("output"),
        tokens=int(usage.get("total_tokens") or state.tokens),
        model_calls=int(usage.get("model_calls") or state.model_calls),
    )


def _run_failed(state: RunState, seen: _Seen) -> RunState:
    ended = _end_run(state, seen, "failed")
    return replace(ended, error_code=seen.text("code"), error=seen.text("message"))


def _run_cancelled(state: RunState, seen: _Seen) -> RunState:
    ended = _end_run(state, seen, "cancelled")
    return replace(ended, error_code="cancelled", error=seen.text("reason"))


def _run_timed_out(state: RunState, seen: _Seen) -> RunState:
    limit = int(seen.number("timeout_seconds"))
    return replace(
        _end_run(state, seen, "timed_out"),
        error_code=seen.text("code") or "timed_out",
        error=seen.text("reason") or f"it ran into its limit of {limit} s",
    )


def short_arguments(arguments: Any) -> str:
    """Return a tool's arguments as `name=value` on one line, each cut short."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return one_line(arguments, 120)
    if not isinstance(arguments, dict):
        return "" if arguments is None else one_line(str(arguments), 120)
    return ", ".join(f"{one_line(str(k), 40)}={_short(v)}" for k, v in arguments.items())


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, 80)


def _put_task(state: RunState, task: TaskState) -> RunState:
    if state.task(task.name) is None:
        return replace(state, tasks=(*state.tasks, task))
    return replace(
        state, tasks=tuple(task if known.name == task.name else known for known in state.tasks)
    )


def _end_task(state: RunState, seen: _Seen, status: str) -> RunState:
    task = state.task(seen.task) or TaskState(seen.task, seen.agent)
    since_start = (seen.at - task.started_at).total_seconds() if task.started_at else 0.0
    ended = replace(
        task, status=status, seconds=seen.seconds or since_start, error=seen.text("error")
    )
    return replace(_put_task(state, ended), model_text="", thinking=False)


def _put_call(state: RunState, seen: _Seen, call: ToolCall) -> RunState:
    task = state.task(seen.task) or state.current_task
    if task is None:
        return state
    if any(known.call_id == call.call_id for known in task.calls):
        calls = tuple(call if known.call_id == call.call_id else known for known in task.calls)
    else:
        calls = (*task.calls, call)[-_KEPT_CALLS:]
    return _put_task(state, replace(task, calls=calls))


def _end_call(state: RunState, seen: _Seen, status: str) -> RunState:
    call_id = seen.text("call_id")
    known = (call for task in state.tasks for call in task.calls if call.call_id == call_id)
    begun = next(known, ToolCall(call_id, seen.text("tool"), "", seen.at))
    error = seen.text("error") if status == "failed" else ""
    call = replace(begun, status=status, seconds=seen.seconds, error=error)
    return _put_call(state, seen, call)


def _end_run(state: RunState, seen: _Seen, status: str) -> RunState:
    return replace(
        state, status=status, finished_at=seen.at, asked="", model_text="", thinking=False
    )


_HANDLERS: dict[str, Callable[[RunState, _Seen], RunState]] = {
    "run.queued": _run_queued,
    "run.started": _run_started,
    "task.started": _task_started,
    "task.completed": partial(_end_task, status="completed"),
    "task.failed": partial(_end_task, status="failed"),
    "agent.started": _agent_started,
    "tool.started": _tool_started,
    "tool.completed": partial(_end_call, status="completed"),
    "tool.failed": partial(_end_call, status="failed"),
    "llm.started": _llm_started,
    "llm.chunk": _llm_chunk,
    "llm.completed": _llm_completed,
    "llm.failed": _llm_failed,
    "artifact.created": _artifact_created,
    "log": _log,
    "input.requested": _input_requested,
    "input.received": _input_received,
    "run.succeeded": _run_succeeded,
    "run.failed": _run_failed,
    "run.cancelled": _run_cancelled,
    "run.timed_out": _run_timed_out,
}
