"""How an attempt ends: the run's new state, and the event that tells of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from crewmesh.v1 import run_pb2, run_store_pb2, runner_pb2
from crewmesh_worker.runner.text import put_text, storable


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: the run's new state and the event that tells of it."""

    transition: run_store_pb2.Transition
    event_type: str
    payload: dict[str, Any]
    task: str = ""
    agent: str = ""


def succeeded(finished: runner_pb2.Finished, usage: dict[str, Any], started_at: float) -> Outcome:
    """Return the end of a run whose crew has answered; it began at that time.monotonic()."""
    output = storable(finished.output)
    transition = run_store_pb2.Transition(
        status=run_pb2.RUN_STATUS_SUCCEEDED, output=output, output_json=finished.output_json
    )
    payload = put_text({}, "output", output)
    payload["usage"] = usage
    payload["duration_ms"] = round((time.monotonic() - started_at) * 1000)
    return Outcome(transition, "run.succeeded", payload)


def failed(error: run_pb2.RunError, output_partial: str = "") -> Outcome:
    """Return the end of a run that fails for good, with what it had finished."""
    error = run_pb2.RunError(code=error.code, message=storable(error.message))
    transition = run_store_pb2.Transition(
        status=run_pb2.RUN_STATUS_FAILED, error=error, output=storable(output_partial)
    )
    return Outcome(transition, "run.failed", {"code": error.code, "message": error.message})


def waiting(asked: runner_pb2.Waiting, payload: dict[str, Any], seconds: int) -> Outcome:
    """Return the end of an attempt that waits for a person."""
    transition = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_WAITING)
    transition.wait.FromSeconds(seconds)
    return Outcome(transition, "input.requested", payload, asked.task, asked.agent)


def cancelled() -> Outcome:
    """Return the end of a run that somebody has cancelled."""
    error = run_pb2.RunError(code="cancelled", message="cancelled on request")
    transition = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_CANCELLED, error=error)
    return Outcome(transition, "run.cancelled", {"reason": error.message})


def timed_out(seconds: int) -> Outcome:
    """Return the end of a run that took too long."""
    error = run_pb2.RunError(code="timed_out", message=f"not finished within {seconds} s")
    transition = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_TIMED_OUT, error=error)
    return Outcome(transition, "run.timed_out", {"timeout_seconds": seconds})


def queued(payload: dict[str, Any], error: run_pb2.RunError | None = None) -> Outcome:
    """Return the end of an attempt after which the run goes back to the queue."""
    transition = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_QUEUED, error=error)
    return Outcome(transition, "run.queued", payload)


def retry_or_fail(run: run_pb2.Run, code: str, message: str) -> Outcome:
    """Try again after an end that isn't the crew's own fault, while attempts remain."""
    if run.failures + 1 >= run.max_attempts:
        tried = f"{message} (failure {run.failures + 1} of {run.max_attempts})"
        return failed(run_pb2.RunError(code="attempts_exhausted", message=tried))
    error = run_pb2.RunError(code=code, message=storable(message))
    return queued({"reason": code, "message": error.message}, error)
