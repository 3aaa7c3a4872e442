"""crewmesh.v1.SessionService: checks what depends on crews, relays the rest to the store."""

from __future__ import annotations

import json
from typing import Any, Final

from crewmesh.common.errors import CrewmeshError, InvalidInputError, StateError, Violation
from crewmesh.common.grpc_server import caller
from crewmesh.common.identity import Identity
from crewmesh.v1 import (
    agent_pb2,
    run_pb2,
    session_pb2,
    session_pb2_grpc,
    session_store_pb2_grpc,
)
from crewmesh_worker.crews.definition import CrewDefinition
from crewmesh_worker.crews.library import CrewLibrary
from crewmesh_worker.crews.model import MESSAGE_FORMAT
from crewmesh_worker.crews.sources import CrewVersion
from crewmesh_worker.relay import StoreRelay
from crewmesh_worker.runs.admission import Admission

MAX_MESSAGE_CHARACTERS: Final = 100_000
_MAX_WAIT_SECONDS: Final = 60.0


class SessionServicer(session_pb2_grpc.SessionServiceServicer):
    """What internal services and the gateway call to hold conversations."""

    def __init__(
        self,
        crews: CrewLibrary,
        admission: Admission,
        store: session_store_pb2_grpc.SessionStoreServiceAsyncStub,
        relay: StoreRelay,
    ) -> None:
        self._crews = crews
        self._admission = admission
        self._store = store
        self._relay = relay

    async def CreateSession(
        self, request: session_pb2.CreateSessionRequest, context: Any
    ) -> session_pb2.CreateSessionResponse:
        identity = caller()
        crew = await self._crews.get(request.crew, "", identity.for_run())
        definition = _talkative(crew)
        inputs = await self._check_inputs(definition, request.inputs_json, identity)
        checked = session_pb2.CreateSessionRequest(
            crew=request.crew, title=request.title, inputs_json=json.dumps(inputs)
        )
        return await self._relay.call(self._store.CreateSession, checked, context)

    async def GetSession(
        self, request: session_pb2.GetSessionRequest, context: Any
    ) -> session_pb2.GetSessionResponse:
        return await self._relay.call(self._store.GetSession, request, context)

    async def ListSessions(
        self, request: session_pb2.ListSessionsRequest, context: Any
    ) -> session_pb2.ListSessionsResponse:
        return await self._relay.call(self._store.ListSessions, request, context)

    async def DeleteSession(
        self, request: session_pb2.DeleteSessionRequest, context: Any
    ) -> session_pb2.DeleteSessionResponse:
        return await self._relay.call(self._store.DeleteSession, request, context)

    async def ListMessages(
        self, request: session_pb2.ListMessagesRequest, context: Any
    ) -> session_pb2.ListMessagesResponse:
        return await self._relay.call(self._store.ListMessages, request, context)

    async def ForgetMemory(
        self, request: session_pb2.ForgetMemoryRequest, context: Any
    ) -> session_pb2.ForgetMemoryResponse:
        return await self._relay.call(self._store.ForgetMemory, request, context)

    async def PostMessage(
        self, request: session_pb2.PostMessageRequest, context: Any
    ) -> session_pb2.PostMessageResponse:
        identity = caller()
        _check_content(request.content)
        asked = session_pb2.GetSessionRequest(session_id=request.session_id)
        session = (await self._relay.call(self._store.GetSession, asked, context)).session
        spec = await self._spec(session, request, identity)
        created = await self._admission.admit(spec, identity)
        run = created.run
        wait = min(request.wait.ToTimedelta().total_seconds(), _MAX_WAIT_SECONDS)
        if wait > 0:
            run = await self._admission.wait_for_end(run.id, wait, identity)
        return session_pb2.PostMessageResponse(
            message=session_pb2.SessionMessage(
                number=2 * run.turn - 1,
                role="user",
                content=request.content,
                run_id=run.id,
                created_at=run.created_at,
            ),
            run=run,
            answer=await self._answer(session.id, run, context),
            replayed=created.replayed,
        )

    async def _spec(
        self,
        session: session_pb2.Session,
        request: session_pb2.PostMessageRequest,
        identity: Identity,
    ) -> agent_pb2.RunSpec:
        crew = await self._crews.get(session.crew, "", identity.for_run())
        definition = _talkative(crew)
        inputs = {
            **json.loads(session.inputs_json),
            str(definition.message_input): request.content,
        }
        return agent_pb2.RunSpec(
            crew=session.crew,
            inputs_json=json.dumps(inputs),
            session_id=session.id,
            idempotency_key=request.idempotency_key,
            timeout_seconds=request.timeout_seconds,
            message=request.content,
        )

    async def _answer(
        self, session_id: str, run: run_pb2.Run, context: Any
    ) -> session_pb2.SessionMessage | None:
        if not run.HasField("finished_at"):
            return None
        request = session_pb2.ListMessagesRequest(
            session_id=session_id, after_number=2 * run.turn - 1, page_size=1
        )
        try:
            messages = (await self._relay.call(self._store.ListMessages, request, context)).messages
        except CrewmeshError:
            # The message was taken, which the caller must learn all the same.
            return None
        return messages[0] if messages and messages[0].number == 2 * run.turn else None

    async def _check_inputs(
        self, definition: CrewDefinition, inputs_json: str, identity: Identity
    ) -> dict[str, Any]:
        """Return what a session keeps: inputs besides the message and the history."""
        others = _without_conversation(definition)
        checked = json.loads(await self._admission.check_inputs(others, inputs_json, identity))
        # Defaults stay those of the crew's version that runs.
        given = json.loads(inputs_json or "{}")
        return {name: checked[name] for name in given}


def _check_content(content: str) -> None:
    if not content.strip() or len(content) > MAX_MESSAGE_CHARACTERS or "\x00" in content:
        limit = f"1 to {MAX_MESSAGE_CHARACTERS:,} characters, not only spaces, none of them NUL"
        raise InvalidInputError(
            "the message can't be taken", violations=[Violation("content", limit)]
        )


def _talkative(crew: CrewVersion) -> CrewDefinition:
    """Return the definition of a crew that can hold a conversation; raise StateError for others."""
    definition = crew.definition
    if not isinstance(definition, CrewDefinition) or definition.message_input is None:
        raise StateError(
            f"the crew {definition.name!r} can't hold a conversation: none of its inputs has the "
            f"format {MESSAGE_FORMAT}; start a run instead",
            reason="NOT_CONVERSATIONAL",
        )
    return definition


def _without_conversation(definition: CrewDefinition) -> CrewDefinition:
    left_out = {definition.message_input, definition.history_input}
    schema = definition.inputs
    return definition.model_copy(
        update={
            "inputs": {
                **schema,
                "properties": {
                    name: prop
                    for name, prop in schema["properties"].items()
                    if name not in left_out
                },
                "required": [name for name in schema.get("required", ()) if name not in left_out],
            }
        }
    )
