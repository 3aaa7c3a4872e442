"""crewmesh.v1.AgentService: starts runs and answers for crews here, relays the rest to the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import structlog

from crewmesh.common.errors import InvalidInputError, UnavailableError, Violation
from crewmesh.common.grpc_client import ending
from crewmesh.common.grpc_server import caller, rpc_errors
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    run_pb2,
    run_store_pb2,
    run_store_pb2_grpc,
)
from crewmesh_worker.crews.library import CrewLibrary
from crewmesh_worker.crews.messages import crew_message, version_message
from crewmesh_worker.relay import DEFAULT_SECONDS, StoreRelay
from crewmesh_worker.runs.admission import Admission
from crewmesh_worker.runs.repetition import spec_of
from crewmesh_worker.tools.listing import ToolListing

log = structlog.get_logger(__name__)

_MAX_WAIT_SECONDS: Final = 60.0
# How long a watch outlives the store that it reads from.
_REWATCH_ATTEMPTS: Final = 20
_REWATCH_SECONDS: Final = 0.5


class AgentServicer(agent_pb2_grpc.AgentServiceServicer):
    """What internal services and the gateway call."""

    def __init__(
        self,
        crews: CrewLibrary,
        admission: Admission,
        store: run_store_pb2_grpc.RunStoreServiceAsyncStub,
        signer: IdentitySigner,
        relay: StoreRelay,
    ) -> None:
        self._crews = crews
        self._tools = ToolListing()
        self._admission = admission
        self._store = store
        self._signer = signer
        self._relay = relay.call

    # Crews --------------------------------------------------------------------

    async def ListCrews(
        self, request: agent_pb2.ListCrewsRequest, context: Any
    ) -> agent_pb2.ListCrewsResponse:
        return await self._crews.list_page(request.page_size, request.page_token, caller())

    async def GetCrew(
        self, request: agent_pb2.GetCrewRequest, context: Any
    ) -> agent_pb2.GetCrewResponse:
        crew = await self._crews.get(request.name, request.version, caller())
        return agent_pb2.GetCrewResponse(crew=crew_message(crew, whole=True))

    async def PutCrew(
        self, request: agent_pb2.PutCrewRequest, context: Any
    ) -> agent_pb2.PutCrewResponse:
        return await self._crews.put(request.name, request.content, request.format, caller())

    async def DeleteCrew(
        self, request: agent_pb2.DeleteCrewRequest, context: Any
    ) -> agent_pb2.DeleteCrewResponse:
        await self._crews.delete(request.name, caller())
        return agent_pb2.DeleteCrewResponse()

    async def ListCrewVersions(
        self, request: agent_pb2.ListCrewVersionsRequest, context: Any
    ) -> agent_pb2.ListCrewVersionsResponse:
        page = await self._crews.list_versions(
            request.name, request.page_size, request.page_token, caller()
        )
        versions = [version_message(crew) for crew in page.versions]
        return agent_pb2.ListCrewVersionsResponse(
            versions=versions, next_page_token=page.next_page_token
        )

    async def DiffCrew(
        self, request: agent_pb2.DiffCrewRequest, context: Any
    ) -> agent_pb2.DiffCrewResponse:
        return await self._crews.diff(
            request.name, request.from_version, request.to_version, caller()
        )

    async def RollbackCrew(
        self, request: agent_pb2.RollbackCrewRequest, context: Any
    ) -> agent_pb2.RollbackCrewResponse:
        crew = await self._crews.roll_back(request.name, request.version, caller())
        return agent_pb2.RollbackCrewResponse(crew=crew_message(crew, whole=True))

    async def ListTools(
        self, request: agent_pb2.ListToolsRequest, context: Any
    ) -> agent_pb2.ListToolsResponse:
        return agent_pb2.ListToolsResponse(tools=await self._tools.tools())

    # Runs ---------------------------------------------------------------------

    async def StartRun(
        self, request: agent_pb2.StartRunRequest, context: Any
    ) -> agent_pb2.StartRunResponse:
        identity = caller()
        created = await self._admit(request.spec, identity)
        run = created.run
        wait = min(request.wait.ToTimedelta().total_seconds(), _MAX_WAIT_SECONDS)
        if wait > 0:
            run = await self._admission.wait_for_end(run.id, wait, identity)
        return agent_pb2.StartRunResponse(run=run, replayed=created.replayed)

    async def RetryRun(
        self, request: agent_pb2.RetryRunRequest, context: Any
    ) -> agent_pb2.RetryRunResponse:
        identity = caller()
        with rpc_errors():
            found = await self._store.GetRun(
                agent_pb2.GetRunRequest(run_id=request.run_id),
                metadata=self._signer.metadata(identity.for_run()),
                timeout=DEFAULT_SECONDS,
            )
        spec = spec_of(found.run, request.idempotency_key)
        created = await self._admission.admit(spec, identity)
        return agent_pb2.RetryRunResponse(run=created.run, replayed=created.replayed)

    async def _admit(
        self, spec: agent_pb2.RunSpec, identity: Identity
    ) -> run_store_pb2.CreateRunResponse:
        if spec.message:
            raise InvalidInputError(
                "a message is posted with SessionService.PostMessage",
                violations=[Violation("message", "leave it out")],
            )
        if spec.retry_of:
            raise InvalidInputError(
                "a run is tried again with RetryRun",
                violations=[Violation("retry_of", "leave it out")],
            )
        return await self._admission.admit(spec, identity)

    async def RunCrew(
        self, request: agent_pb2.RunCrewRequest, context: Any
    ) -> AsyncIterator[agent_pb2.RunCrewResponse]:
        identity = caller()
        created = await self._admit(request.spec, identity)
        async with aclosing(self._watch(created.run.id, 0, identity.for_run())) as batches:
            async for events in batches:
                yield agent_pb2.RunCrewResponse(events=events)

    async def WatchRun(
        self, request: agent_pb2.WatchRunRequest, context: Any
    ) -> AsyncIterator[agent_pb2.WatchRunResponse]:
        watch = self._watch(request.run_id, request.after_seq, caller())
        async with aclosing(watch) as batches:
            async for events in batches:
                yield agent_pb2.WatchRunResponse(events=events)

    async def _watch(
        self, run_id: str, cursor: int, identity: Identity
    ) -> AsyncGenerator[list[run_pb2.RunEvent]]:
        """Yield the run's events after `cursor`, across restarts of the store."""
        failures = 0
        while True:
            try:
                with rpc_errors():
                    call = self._store.WatchRun(
                        agent_pb2.WatchRunRequest(run_id=run_id, after_seq=cursor),
                        metadata=self._signer.metadata(identity),
                    )
                    with ending(call):
                        async for response in call:
                            failures = 0
                            cursor = response.events[-1].seq
                            yield list(response.events)
                    return
            except UnavailableError as error:
                failures += 1
                if failures > _REWATCH_ATTEMPTS:
                    raise
                log.warning("watching again", run_id=run_id, reason=error.message)
            await asyncio.sleep(_REWATCH_SECONDS)

    async def ListRunEvents(
        self, request: agent_pb2.ListRunEventsRequest, context: Any
    ) -> agent_pb2.ListRunEventsResponse:
        return await self._relay(self._store.ListRunEvents, request, context)

    async def GetRun(
        self, request: agent_pb2.GetRunRequest, context: Any
    ) -> agent_pb2.GetRunResponse:
        wait = min(request.wait.ToTimedelta().total_seconds(), _MAX_WAIT_SECONDS)
        return await self._relay(self._store.GetRun, request, context, wait)

    async def ListRuns(
        self, request: agent_pb2.ListRunsRequest, context: Any
    ) -> agent_pb2.ListRunsResponse:
        return await self._relay(self._store.ListRuns, request, context)

    async def CancelRun(
        self, request: agent_pb2.CancelRunRequest, context: Any
    ) -> agent_pb2.CancelRunResponse:
        return await self._relay(self._store.CancelRun, request, context)

    async def RespondToRun(
        self, request: agent_pb2.RespondToRunRequest, context: Any
    ) -> agent_pb2.RespondToRunResponse:
        return await self._relay(self._store.RespondToRun, request, context)
