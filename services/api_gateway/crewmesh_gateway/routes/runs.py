"""Runs: start, list, show, cancel, retry, answer."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from crewmesh.v1.agent_pb2 import (
    CancelRunRequest,
    ListRunsRequest,
    RespondToRunRequest,
    RetryRunRequest,
    StartRunRequest,
)
from crewmesh.v1.run_pb2 import RunStatus
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import JsonRoute
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.params import (
    CreatorFilter,
    CrewFilter,
    Cursor,
    Id,
    Limit,
    Moment,
    SessionFilter,
    Wait,
    Words,
)
from crewmesh_gateway.relay import CALL_SECONDS, RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.translate import (
    ENDED,
    STATUS_NUMBERS,
    as_timestamp,
    run_json,
    spec_proto,
)
from crewmesh_gateway.waiting import (
    IdempotencyKey,
    duration,
    first_wait,
    read_run,
    wait_for_end,
)

router = APIRouter(tags=["runs"], route_class=JsonRoute)


@router.post(
    "/v1/runs",
    summary="Start a run",
    status_code=202,
    responses={
        200: {"model": schemas.Run, "description": "The run, which has ended"},
        202: {"model": schemas.Run, "description": "The run, durably accepted"},
        **problems(404, 409, *BODY_FAULTS),
    },
)
async def start_run(
    relay: RequestRelay,
    body: schemas.StartRun,
    wait: Wait = 0,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a run and return it once it is durably accepted, or has ended within `wait` seconds.

    An accepted run is never lost. Send an `Idempotency-Key` to be able to repeat the call
    safely when its answer was lost.
    """
    spec = spec_proto(body, idempotency_key)
    give_up_at = time.monotonic() + wait
    first = first_wait(wait)
    answer = await relay.call(
        relay.mesh.agents.StartRun,
        StartRunRequest(spec=spec, wait=duration(first)),
        seconds=first + CALL_SECONDS,
        repeatable=bool(idempotency_key),
    )
    run = await wait_for_end(relay, answer.run, give_up_at)
    headers = {"Location": f"/v1/runs/{run.id}"}
    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Json(run_json(run), 200 if wait and run.status in ENDED else 202, headers)


@router.get(
    "/v1/runs",
    summary="List runs",
    responses={200: {"model": schemas.Page[schemas.Run]}, **problems(422)},
)
async def list_runs(
    relay: RequestRelay,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: schemas.Status | None = None,
    crew: CrewFilter = None,
    session_id: SessionFilter = None,
    created_by: CreatorFilter = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
    q: Words = None,
    webhook: Annotated[
        schemas.WebhookStatus | None, Query(description="Those whose webhook has this status.")
    ] = None,
) -> Response:
    """List runs, newest first."""
    answer = await relay.call(
        relay.mesh.agents.ListRuns,
        ListRunsRequest(
            page_size=limit,
            page_token=cursor or "",
            status=STATUS_NUMBERS[status] if status else RunStatus.RUN_STATUS_UNSPECIFIED,
            crew=crew or "",
            session_id=session_id or "",
            created_by=created_by or "",
            created_after=as_timestamp(created_after),
            created_before=as_timestamp(created_before),
            text=(q or "").strip(),
            webhook=webhook or "",
        ),
    )
    return Json(
        {
            "items": [run_json(run) for run in answer.runs],
            "next_cursor": answer.next_page_token or None,
        }
    )


@router.get(
    "/v1/runs/{run_id}",
    summary="Show a run",
    responses={200: {"model": schemas.Run}, **problems(404, 422)},
)
async def get_run(relay: RequestRelay, run_id: Id, wait: Wait = 0) -> Response:
    """Show a run with its tasks, as it is now or after at most `wait` seconds when it has ended."""
    give_up_at = time.monotonic() + wait
    run = await read_run(relay, run_id, first_wait(wait))
    return Json(run_json(await wait_for_end(relay, run, give_up_at)))


@router.post(
    "/v1/runs/{run_id}/cancel",
    summary="Cancel a run",
    responses={200: {"model": schemas.Run}, **problems(404, 409, *BODY_FAULTS)},
)
async def cancel_run(
    relay: RequestRelay, run_id: Id, body: schemas.CancelRun | None = None
) -> Response:
    """Ask for a run to be cancelled; asking again changes nothing.

    A run that was running shows `cancel_requested_at` until its processes are gone.
    """
    reason = body.reason if body is not None else ""
    request = CancelRunRequest(run_id=run_id, reason=reason)
    answer = await relay.call(relay.mesh.agents.CancelRun, request)
    return Json(run_json(answer.run))


@router.post(
    "/v1/runs/{run_id}/retry",
    summary="Retry a run",
    status_code=202,
    responses={
        202: {"model": schemas.Run, "description": "The new run, durably accepted"},
        **problems(404, 409, 422),
    },
)
async def retry_run(
    relay: RequestRelay, run_id: Id, idempotency_key: IdempotencyKey = None
) -> Response:
    """Start another run of what a run that has ended was asked.

    It is a run of its own, of the crew as it is now, with the same inputs, models, budget and
    limits, but without the webhook; `retry_of` names the old one.
    """
    answer = await relay.call(
        relay.mesh.agents.RetryRun,
        RetryRunRequest(run_id=run_id, idempotency_key=idempotency_key or ""),
        repeatable=bool(idempotency_key),
    )
    headers = {"Location": f"/v1/runs/{answer.run.id}"}
    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Json(run_json(answer.run), 202, headers)


@router.post(
    "/v1/runs/{run_id}/input",
    summary="Answer a run that waits",
    responses={200: {"model": schemas.Run}, **problems(404, 409, *BODY_FAULTS)},
)
async def respond_to_run(relay: RequestRelay, run_id: Id, body: schemas.RespondToRun) -> Response:
    """Give a run that waits for a person what it waits for."""
    request = RespondToRunRequest(
        run_id=run_id, text=body.text, approve=body.approve, question_seq=body.question or 0
    )
    # An answer to a question is acknowledged again; one to whatever is asked now is not.
    answer = await relay.call(
        relay.mesh.agents.RespondToRun, request, repeatable=body.question is not None
    )
    return Json(run_json(answer.run))
