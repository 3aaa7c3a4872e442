"""crewmesh.v1.SessionStoreService."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from crewmesh.common.errors import InvalidInputError, NotFoundError, Violation
from crewmesh.common.grpc_server import caller
from crewmesh.v1 import session_pb2, session_store_pb2, session_store_pb2_grpc
from crewmesh_store.messages import page_bounds, parse_id
from crewmesh_store.sessions.repository import SessionRepository

# Takes a run's id, its organisation and a reason.
CancelRun = Callable[[str, str, str], Awaitable[object]]

_MAX_TITLE_CHARACTERS = 200


class SessionStoreServicer(session_store_pb2_grpc.SessionStoreServiceServicer):
    """Sessions, their messages and memories, over gRPC."""

    def __init__(self, sessions: SessionRepository, cancel_run: CancelRun) -> None:
        self._sessions = sessions
        self._cancel_run = cancel_run

    async def CreateSession(
        self, request: session_pb2.CreateSessionRequest, context: Any
    ) -> session_pb2.CreateSessionResponse:
        if len(request.title) > _MAX_TITLE_CHARACTERS or "\x00" in request.title:
            limit = f"at most {_MAX_TITLE_CHARACTERS} characters, none of them NUL"
            raise InvalidInputError(
                "the session can't be made", violations=[Violation("title", limit)]
            )
        session = await self._sessions.create(request, caller())
        return session_pb2.CreateSessionResponse(session=session)

    async def GetSession(
        self, request: session_pb2.GetSessionRequest, context: Any
    ) -> session_pb2.GetSessionResponse:
        return session_pb2.GetSessionResponse(session=await self._require(request.session_id))

    async def ListSessions(
        self, request: session_pb2.ListSessionsRequest, context: Any
    ) -> session_pb2.ListSessionsResponse:
        limit, before = page_bounds(request.page_size, request.page_token)
        sessions = await self._sessions.list_page(
            request.crew, caller().require_org(), before, limit + 1
        )
        more = len(sessions) > limit
        return session_pb2.ListSessionsResponse(
            sessions=sessions[:limit], next_page_token=sessions[limit - 1].id if more else ""
        )

    async def DeleteSession(
        self, request: session_pb2.DeleteSessionRequest, context: Any
    ) -> session_pb2.DeleteSessionResponse:
        org_id = caller().require_org()
        # First the session: from then on it takes no message.
        if not await self._sessions.delete(request.session_id, org_id):
            raise _no_session(request.session_id)
        for run in await self._sessions.list_open_runs(request.session_id, org_id):
            await self._cancel_run(run, org_id, "its session was deleted")
        return session_pb2.DeleteSessionResponse()

    async def ListMessages(
        self, request: session_pb2.ListMessagesRequest, context: Any
    ) -> session_pb2.ListMessagesResponse:
        limit, _ = page_bounds(request.page_size, "")
        await self._require(request.session_id)
        messages = await self._sessions.list_messages(request, limit + 1)
        return session_pb2.ListMessagesResponse(
            messages=messages[:limit], more=len(messages) > limit
        )

    async def ForgetMemory(
        self, request: session_pb2.ForgetMemoryRequest, context: Any
    ) -> session_pb2.ForgetMemoryResponse:
        session = await self._require(request.session_id)
        deleted = await self._sessions.forget_memory(session.id, caller().require_org())
        return session_pb2.ForgetMemoryResponse(deleted=deleted)

    async def ReadMemories(
        self, request: session_store_pb2.ReadMemoriesRequest, context: Any
    ) -> session_store_pb2.ReadMemoriesResponse:
        memories = await self._sessions.read_memories(
            parse_id(request.run_id, "run"), request.epoch
        )
        return session_store_pb2.ReadMemoriesResponse(memories=memories)

    async def _require(self, session_id: str) -> session_pb2.Session:
        session = await self._sessions.get(session_id, caller().require_org())
        if session is None:
            raise _no_session(session_id)
        return session


def _no_session(session_id: str) -> NotFoundError:
    return NotFoundError(f"there is no session {session_id[:64]!r}", reason="SESSION_NOT_FOUND")
