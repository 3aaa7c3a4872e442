"""What another run of the same is asked."""

from __future__ import annotations

from crewmesh.common.errors import StateError
from crewmesh.common.run_json import ENDED
from crewmesh.v1 import agent_pb2, run_pb2


def spec_of(run: run_pb2.Run, idempotency_key: str) -> agent_pb2.RunSpec:
    """Return what a run that repeats this one is asked.

    Its crew is the current version. It has no webhook, since nobody is told the secret of
    one. Raises StateError for a run that hasn't ended (RUN_NOT_ENDED) and for one that
    answers a session's message (RUN_OF_SESSION).
    """
    if run.status not in ENDED:
        raise StateError("the run hasn't ended; cancel it first", reason="RUN_NOT_ENDED")
    if run.turn:
        raise StateError(
            "the run answers a message of a session; post the message again",
            reason="RUN_OF_SESSION",
        )
    return agent_pb2.RunSpec(
        crew=run.crew,
        inputs_json=run.inputs_json,
        session_id=run.session_id,
        priority=run.priority,
        timeout_seconds=run.timeout_seconds,
        max_attempts=run.max_attempts,
        idempotency_key=idempotency_key,
        models=run.models,
        budget=run.budget if run.HasField("budget") else None,
        retry_of=run.id,
    )
