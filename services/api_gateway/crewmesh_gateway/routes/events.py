"""A run's log: as a stream or in pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from crewmesh.v1.agent_pb2 import ListRunEventsRequest
from crewmesh_gateway import sse
from crewmesh_gateway.openapi import problems
from crewmesh_gateway.params import MAX_SEQ, SEQ, Id
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.schemas import Page, RunEvent
from crewmesh_gateway.translate import event_json

router = APIRouter(tags=["runs"])

_STREAM_EXAMPLE = (
    "id: 3\nevent: task.started\n"
    'data: {"seq":3,"run_id":"0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a10",'
    '"at":"2026-11-23T06:39:00.000000Z","attempt":1,"type":"task.started","task":"analyse",'
    '"agent":"Analyst","payload":{"index":0,"total":2,"description":"..."}}\n\n'
)


@router.get(
    "/v1/runs/{run_id}/events",
    summary="Follow a run",
    responses={
        200: {
            "model": Page[RunEvent],
            "description": "With `Accept: text/event-stream` a stream, else a page",
            "content": {sse.MEDIA_TYPE: {"example": _STREAM_EXAMPLE}},
        },
        204: {"description": "A stream was asked for, but the log has ended before that number"},
        **problems(404, 422),
    },
)
async def read_events(
    relay: RequestRelay,
    request: Request,
    run_id: Id,
    after: Annotated[
        int, Query(ge=0, le=MAX_SEQ, description="Only events with a higher number.")
    ] = 0,
    cursor: Annotated[
        str | None, Query(pattern=SEQ, description="`next_cursor` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many to a page at most.")] = 100,
    last_event_id: Annotated[
        str | None, Header(pattern=SEQ, description="As `after`, which it overrides.")
    ] = None,
) -> Response:
    """Read a run's events, as a stream that goes on until the run ends, or in pages.

    In the stream, `id` is the event's number, `event` its type and `data` the event as
    JSON. To go on after a break, send the last `id` that you saw as `Last-Event-ID`. A
    comment comes every 15 s of silence.
    """
    if sse.MEDIA_TYPE in request.headers.get("accept", ""):
        return await sse.answer_events(relay, run_id, int(last_event_id or after))
    answer = await relay.call(
        relay.mesh.agents.ListRunEvents,
        ListRunEventsRequest(run_id=run_id, after_seq=int(cursor or after), page_size=limit),
    )
    return Json(
        {
            "items": [event_json(event) for event in answer.events],
            "next_cursor": str(answer.events[-1].seq) if answer.more else None,
        }
    )
