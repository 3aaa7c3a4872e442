"""A run's events as plain lines, for logs and pipes: one for each that matters."""

from __future__ import annotations

from crewmesh.cli.client import Event
from crewmesh.cli.live.state import RunState, short_arguments
from crewmesh.cli.text import clean, duration, one_line, parse_time, plural, size


def describe(before: RunState, after: RunState, event: Event) -> str | None:
    """Return the line for `event`, which led from one state to the other, if it needs one."""
    text = _text(before, after, event)
    if text is None:
        return None
    begun = after.created_at or parse_time(event["at"])
    return f"{(parse_time(event['at']) - begun).total_seconds():7.1f} s  {text}"


def _text(before: RunState, after: RunState, event: Event) -> str | None:
    payload = event["payload"]
    match event["type"]:
        case "run.queued":
            return f"queued: {clean(after.crew)}, run {after.run_id}"
        case "run.started":
            again = f", attempt {after.attempt}" if after.attempt > 1 else ""
            return f"started on {clean(str(payload.get('worker_id', 'a worker')))}{again}"
        case "task.started":
            agent = f" ({clean(event['agent'])})" if event["agent"] else ""
            return _position(payload) + _task(event) + agent
        case "task.completed":
            return f"{_task(event)} done in {_seconds(payload)}"
        case "task.failed":
            return f"{_task(event)} failed: {_error(payload)}"
        case "tool.completed":
            return f"  {_call(before, payload)} in {_seconds(payload)}"
        case "tool.failed":
            return f"  {_call(before, payload)} failed: {_error(payload)}"
        case "llm.failed":
            return f"  model {clean(str(payload.get('model', '')))} failed: {_error(payload)}"
        case "artifact.created":
            name, count = one_line(str(payload["name"]), 100), int(payload.get("size_bytes") or 0)
            return f"  made {name} ({size(count)})"
        case "log":
            return f"  {one_line(str(payload.get('message', '')), 300)}"
        case "input.requested":
            return f"waits for a person: {after.asked} (`crewmesh runs answer {after.run_id}`)"
        case "input.received":
            return f"a person {_answered(payload)}"
        case "run.succeeded" | "run.failed" | "run.cancelled" | "run.timed_out":
            return outcome(after)
    return None


def outcome(state: RunState) -> str:
    """Return how an ended run ended, in one line."""
    begun = state.started_at or state.created_at
    parts = [state.status.replace("_", " ")]
    if state.finished_at and begun:
        parts.append(f"after {duration((state.finished_at - begun).total_seconds())}")
    if state.model_calls:
        parts.append(f"with {plural(state.tokens, 'token')}")
        parts.append(f"in {plural(state.model_calls, 'model call')}")
    line = " ".join(parts)
    return f"{line}: {one_line(state.error, 500)}" if state.error else line


def _position(payload: dict[str, object]) -> str:
    index, total = payload.get("index"), payload.get("total")
    if not isinstance(index, int) or not total:
        return "task "
    return f"task {index + 1}/{total} "


def _task(event: Event) -> str:
    return clean(event["task"] or "a task")


def _seconds(payload: dict[str, object]) -> str:
    milliseconds = payload.get("duration_ms")
    return duration(milliseconds / 1000 if isinstance(milliseconds, int | float) else 0.0)


def _error(payload: dict[str, object]) -> str:
    return one_line(str(payload.get("error", "")), 300)


def _answered(payload: dict[str, object]) -> str:
    said = one_line(str(payload.get("text") or ""), 160)
    verdict = {True: "approved", False: "refused"}.get(payload.get("approve"), "answered")  # type: ignore[call-overload]
    return f"{verdict}: {said}" if said else verdict


def _call(before: RunState, payload: dict[str, object]) -> str:
    call_id, tool = payload.get("call_id"), clean(str(payload.get("tool", "a tool")))
    known = (call for task in before.tasks for call in task.calls if call.call_id == call_id)
    call = next(known, None)
    arguments = call.arguments if call else short_arguments(payload.get("arguments"))
    return f"{tool}({one_line(arguments, 160)})"
