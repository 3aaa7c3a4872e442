"""Sessions: conversations with a crew."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from crewmesh.common.errors import CrewmeshError
from crewmesh.v1.run_pb2 import Run
from crewmesh.v1.session_pb2 import (
    CreateSessionRequest,
    DeleteSessionRequest,
    ForgetMemoryRequest,
    GetSessionRequest,
    ListMessagesRequest,
    ListSessionsRequest,
    PostMessageRequest,
    SessionMessage,
)
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import JsonRoute, dump_json
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.params import NAME, SEQ, Cursor, Id, Limit, Wait
from crewmesh_gateway.relay import CALL_SECONDS, Relay, RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.translate import ENDED, message_json, run_json, session_json
from crewmesh_gateway.waiting import (
    IdempotencyKey,
    duration,
    first_wait,
    wait_for_end,
)

router = APIRouter(tags=["sessions"], route_class=JsonRoute)


@router.post(
    "/v1/sessions",
    summary="Begin a conversation",
    status_code=201,
    responses={201: {"model": schemas.Session}, **problems(404, 409, *BODY_FAULTS)},
)
async def create_session(relay: RequestRelay, body: schemas.CreateSession) -> Response:
    """Begin a conversation with a crew that has an input of the format `session-message`."""
    request = CreateSessionRequest(
        crew=body.crew, title=body.title, inputs_json=dump_json(body.inputs)
    )
    session = (await relay.call(relay.mesh.sessions.CreateSession, request)).session
    return Json(session_json(session), 201, {"Location": f"/v1/sessions/{session.id}"})


@router.get(
    "/v1/sessions",
    summary="List conversations",
    responses={200: {"model": schemas.Page[schemas.Session]}, **problems(422)},
)
async def list_sessions(
    relay: RequestRelay,
    limit: Limit = 50,
    cursor: Cursor = None,
    crew: Annotated[str | None, Query(pattern=NAME)] = None,
) -> Response:
    """List conversations, newest first."""
    request = ListSessionsRequest(page_size=limit, page_token=cursor or "", crew=crew or "")
    answer = await relay.call(relay.mesh.sessions.ListSessions, request)
    return Json(
        {
            "items": [session_json(session) for session in answer.sessions],
            "next_cursor": answer.next_page_token or None,
        }
    )


@router.get(
    "/v1/sessions/{session_id}",
    summary="Show a conversation",
    responses={200: {"model": schemas.Session}, **problems(404)},
)
async def get_session(relay: RequestRelay, session_id: Id) -> Response:
    """Show a conversation without its messages."""
    request = GetSessionRequest(session_id=session_id)
    answer = await relay.call(relay.mesh.sessions.GetSession, request)
    return Json(session_json(answer.session))


@router.delete(
    "/v1/sessions/{session_id}",
    summary="Delete a conversation",
    status_code=204,
    responses=problems(404),
)
async def delete_session(relay: RequestRelay, session_id: Id) -> Response:
    """Delete a conversation with its messages and memories, and cancel its runs."""
    request = DeleteSessionRequest(session_id=session_id)
    await relay.call(relay.mesh.sessions.DeleteSession, request)
    return Response(status_code=204)


@router.delete(
    "/v1/sessions/{session_id}/memory",
    summary="Forget",
    responses={200: {"model": schemas.ForgottenMemory}, **problems(404)},
)
async def forget_memory(relay: RequestRelay, session_id: Id) -> Response:
    """Delete what the crew has kept in its long-term memory of this conversation."""
    request = ForgetMemoryRequest(session_id=session_id)
    answer = await relay.call(relay.mesh.sessions.ForgetMemory, request)
    return Json({"deleted": answer.deleted})


@router.get(
    "/v1/sessions/{session_id}/messages",
    summary="Read a conversation",
    responses={200: {"model": schemas.MessagePage}, **problems(404, 422)},
)
async def list_messages(
    relay: RequestRelay,
    session_id: Id,
    limit: Limit = 50,
    cursor: Annotated[
        str | None, Query(pattern=SEQ, description="`next_cursor` of the page before.")
    ] = None,
    order: Annotated[
        Literal["asc", "desc"], Query(description="As it was said, or the newest first.")
    ] = "asc",
) -> Response:
    """List a conversation's messages. A message that has no answer yet is followed by none."""
    request = ListMessagesRequest(
        session_id=session_id,
        page_size=limit,
        after_number=int(cursor or 0),
        newest_first=order == "desc",
    )
    answer = await relay.call(relay.mesh.sessions.ListMessages, request)
    return Json(
        {
            "items": [message_json(message) for message in answer.messages],
            "next_cursor": str(answer.messages[-1].number) if answer.more else None,
        }
    )


@router.post(
    "/v1/sessions/{session_id}/messages",
    summary="Say something",
    status_code=202,
    responses={
        200: {"model": schemas.PostedMessage, "description": "The message, answered"},
        202: {"model": schemas.PostedMessage, "description": "The message, durably accepted"},
        **problems(404, 409, *BODY_FAULTS),
    },
)
async def post_message(
    relay: RequestRelay,
    session_id: Id,
    body: schemas.PostMessage,
    wait: Wait = 0,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Post a message and start the run that answers it, both or neither.

    The run sees what was said before. Messages are answered one after another, in their
    order. Follow the answer as it is written with `GET /v1/runs/{run_id}/events`.
    """
    give_up_at = time.monotonic() + wait
    first = first_wait(wait)
    request = PostMessageRequest(
        session_id=session_id,
        content=body.content,
        idempotency_key=idempotency_key or "",
        timeout_seconds=body.timeout_seconds or 0,
        wait=duration(first),
    )
    posted = await relay.call(
        relay.mesh.sessions.PostMessage,
        request,
        seconds=first + CALL_SECONDS,
        repeatable=bool(idempotency_key),
    )
    run = await wait_for_end(relay, posted.run, give_up_at)
    answer = posted.answer if posted.HasField("answer") else await _answer(relay, session_id, run)
    content = {
        "message": message_json(posted.message),
        "run": run_json(run),
        "answer": message_json(answer) if answer is not None else None,
    }
    headers = {"Location": f"/v1/runs/{run.id}"}
    if posted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Json(content, 200 if wait and run.status in ENDED else 202, headers)


async def _answer(relay: Relay, session_id: str, run: Run) -> SessionMessage | None:
    """Return the message that the run's end became."""
    if run.status not in ENDED:
        return None
    request = ListMessagesRequest(session_id=session_id, page_size=1, after_number=2 * run.turn - 1)
    try:
        messages = (await relay.call(relay.mesh.sessions.ListMessages, request)).messages
    except CrewmeshError:
        # The message was accepted, which the client must learn all the same.
        return None
    return messages[0] if messages and messages[0].number == 2 * run.turn else None
