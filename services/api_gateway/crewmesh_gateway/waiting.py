"""Waiting for a run's end, across the loss of workers."""

from __future__ import annotations

import time
from typing import Annotated, Final

from fastapi import Header
from google.protobuf.duration_pb2 import Duration

from crewmesh.common.errors import CrewmeshError
from crewmesh.v1.agent_pb2 import GetRunRequest
from crewmesh.v1.run_pb2 import Run
from crewmesh_gateway.params import IDEMPOTENCY_KEY
from crewmesh_gateway.relay import CALL_SECONDS, MeshCaller
from crewmesh_gateway.translate import ENDED

# A long wait is made of calls of this length, so that it survives the loss of a
# worker and ends soon when the gateway stops.
WAIT_SLICE_SECONDS: Final = 5.0

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=IDEMPOTENCY_KEY,
        description="Sent again with the same body, it returns the run that it started first.",
    ),
]


def first_wait(seconds: float) -> float:
    """Return how much of a wait the first call takes."""
    return min(seconds, WAIT_SLICE_SECONDS)


async def wait_for_end(relay: MeshCaller, run: Run, give_up_at: float) -> Run:
    """Return the run when it has ended, or as it is at `give_up_at`."""
    while run.status not in ENDED and not relay.gateway.draining.is_set():
        left = give_up_at - time.monotonic()
        if left <= 0:
            break
        try:
            run = await read_run(relay, run.id, min(left, WAIT_SLICE_SECONDS))
        except CrewmeshError:
            # The run was accepted, which the client must learn all the same.
            break
    return run


async def read_run(relay: MeshCaller, run_id: str, wait: float) -> Run:
    """Return a run, as it is now or after at most `wait` seconds when it has ended."""
    request = GetRunRequest(run_id=run_id, wait=duration(wait))
    run: Run = (
        await relay.call(relay.mesh.agents.GetRun, request, seconds=wait + CALL_SECONDS)
    ).run
    return run


def duration(seconds: float) -> Duration:
    """Return a length of time as a message."""
    message = Duration()
    message.FromMilliseconds(int(seconds * 1000))
    return message
