"""crewmesh.v1.AgentService: starts runs here, relays everything else to the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import grpc
import structlog

from crewmesh.common.errors import UnavailableError
from crewmesh.common.grpc_server import caller, rpc_errors
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import agent_pb2, agent_pb2_grpc, run_pb2, run_store_pb2_grpc
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import to_proto
from crewmesh_worker.runs.admission import Admission

log = structlog.get_logger(__name__)

Request = TypeVar("Request")
Response = TypeVar("Response")

# For callers that set no deadline of their own.
_DEFAULT_SECONDS: Final = 10.0
_MAX_WAIT_SECONDS: Final = 60.0
# How long a watch outlives the store that it reads from.
_REWATCH_ATTEMPTS: Final = 20
_REWATCH_SECONDS: Final = 0.5


class AgentServicer(agent_pb2_grpc.AgentServiceServicer):
    """What internal services and the gateway call."""

    def __init__(
        self,
        catalogue: Catalogue,
        admission: Admission,
        store: run_store_pb2_grpc.RunStoreServiceAsyncStub,
        signer: IdentitySigner,
    ) -> None:
        self._catalogue = catalogue
        self._admission = admission
        self._store = store
        self._signer = signer

    async def ListCrews(
        self, request: agent_pb2.ListCrewsRequest, context: Any
    ) -> agent_pb2.ListCrewsResponse:
        return agent_pb2.ListCrewsResponse(
            crews=[to_proto(definition) for definition in self._catalogue.all()]
        )

    async def GetCrew(
        self, request: agent_pb2.GetCrewRequest, context: Any
    ) -> agent_pb2.GetCrewResponse:
        return agent_pb2.GetCrewResponse(crew=to_proto(self._catalogue.get(request.name)))

    async def StartRun(
        self, request: agent_pb2.StartRunRequest, context: Any
    ) -> agent_pb2.StartRunResponse:
        identity = caller()
        created = await self._admission.admit(request.spec, identity)
        run = created.run
        wait = min(request.wait.ToTimedelta().total_seconds(), _MAX_WAIT_SECONDS)
        if wait > 0:
            run = await self._wait_for_end(run.id, wait, identity)
        return agent_pb2.StartRunResponse(run=run, replayed=created.replayed)

    async def _wait_for_end(self, run_id: str, seconds: float, identity: Identity) -> run_pb2.Run:
        """Return the run as it is when it has ended, or when the time is up."""
        end = time.monotonic() + seconds
        # The store needn't be asked to wait for a run that is executed here.
        await self._admission.executor.wait_for(run_id, seconds)
        request = agent_pb2.GetRunRequest(run_id=run_id)
        request.wait.FromMilliseconds(max(0, int((end - time.monotonic()) * 1000)))
        with rpc_errors():
            response = await self._store.GetRun(
                request,
                metadata=self._signer.metadata(identity),
                timeout=seconds + _DEFAULT_SECONDS,
            )
        return response.run

    async def RunCrew(
        self, request: agent_pb2.RunCrewRequest, context: Any
    ) -> AsyncIterator[agent_pb2.RunCrewResponse]:
        identity = caller()
        created = await self._admission.admit(request.spec, identity)
        async for events in self._watch(created.run.id, 0, identity):
            yield agent_pb2.RunCrewResponse(events=events)

    async def WatchRun(
        self, request: agent_pb2.WatchRunRequest, context: Any
    ) -> AsyncIterator[agent_pb2.WatchRunResponse]:
        async for events in self._watch(request.run_id, request.after_seq, caller()):
            yield agent_pb2.WatchRunResponse(events=events)

    async def _watch(
        self, run_id: str, cursor: int, identity: Identity
    ) -> AsyncIterator[list[run_pb2.RunEvent]]:
        """Yield the run's events after `cursor`, across restarts of the store."""
        failures = 0
        while True:
            try:
                with rpc_errors():
                    call = self._store.WatchRun(
                        agent_pb2.WatchRunRequest(run_id=run_id, after_seq=cursor),
                        metadata=self._signer.metadata(identity),
                    )
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

    async def _relay(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        context: Any,
        wait_seconds: float = 0.0,
    ) -> Response:
        """Ask the store the same, on behalf of the same caller, within the same deadline."""
        limit = _DEFAULT_SECONDS + wait_seconds
        remaining = context.time_remaining()
        with rpc_errors():
            return await method(
                request,
                metadata=self._signer.metadata(caller()),
                timeout=limit if remaining is None else min(remaining, limit),
            )
