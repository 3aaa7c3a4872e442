"""A run's events, followed across breaks of single streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import grpc
import structlog

from crewmesh.common.errors import CrewmeshError, DeadlineError, UnavailableError
from crewmesh.common.events import TERMINAL_EVENT_TYPES
from crewmesh.v1.agent_pb2 import GetRunRequest, WatchRunRequest, WatchRunResponse
from crewmesh.v1.run_pb2 import RunEvent
from crewmesh_gateway.mesh import error_of
from crewmesh_gateway.relay import MeshCaller

log = structlog.get_logger(__name__)

# A stream is begun anew after this long, so that a revoked key doesn't watch on
# and new workers get their share.
_STREAM_SECONDS = 300.0
# About 30 s of trying in all.
_MAX_BREAKS = 20
_MAX_PAUSE_SECONDS = 2.0
# A stream that lived this long broke on its own account, not on the one before it.
_HEALTHY_SECONDS = 10.0
_HISTORY_SECONDS = 0.25


class RunWatch:
    """Follows one run's log from a number on, to its end or until `draining`.

    When a worker is lost, another goes on after the last event that was read: nothing is
    missed and nothing comes twice.
    """

    def __init__(self, relay: MeshCaller, run_id: str, after_seq: int) -> None:
        self._relay = relay
        self._run_id = run_id
        self._after_seq = after_seq
        # Whether the mesh has shown that this run can be watched.
        self._opened = False
        self._ended = False
        self._stream = self._begin()
        self._reading = asyncio.create_task(self._read())
        self._draining = asyncio.create_task(relay.gateway.draining.wait())

    async def open(self) -> bool:
        """Return whether there is, or may be, anything to read.

        Raises what the mesh raises for a run that can't be watched.
        """
        await asyncio.wait({self._reading}, timeout=_HISTORY_SECONDS)
        if self._reading.done():
            return self._reading.result() is not None
        # Silence: no event yet after that number, or no such run.
        await self._relay.call(self._relay.mesh.agents.GetRun, GetRunRequest(run_id=self._run_id))
        self._opened = True
        return True

    async def next_batch(self, seconds: float) -> Sequence[RunEvent] | None:
        """Return the next events, an empty batch after `seconds` of silence, None at the end."""
        if self._ended:
            return None
        done, _ = await asyncio.wait(
            {self._reading, self._draining}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            return ()
        if self._reading not in done:
            return None
        events = self._reading.result()
        if events is None or events[-1].type in TERMINAL_EVENT_TYPES:
            self._ended = True
        else:
            self._reading = asyncio.create_task(self._read())
        return events

    async def close(self) -> None:
        """End the call to the mesh."""
        self._draining.cancel()
        self._reading.cancel()
        await asyncio.wait({self._draining, self._reading})
        self._stream.cancel()

    async def _read(self) -> Sequence[RunEvent] | None:
        """Return the next events, or None at the log's end; begin anew when the stream breaks."""
        breaks = 0
        while True:
            began = time.monotonic()
            try:
                if breaks:
                    await self._relay.renew()
                    self._stream = self._begin()
                return await self._read_stream()
            except CrewmeshError as error:
                breaks = 1 if time.monotonic() - began > _HEALTHY_SECONDS else breaks + 1
                if not self._opened or not _may_pass(error) or breaks > _MAX_BREAKS:
                    raise
                log.info("watching anew", run_id=self._run_id, reason=error.reason, breaks=breaks)
            await asyncio.sleep(_pause_seconds(breaks))

    async def _read_stream(self) -> Sequence[RunEvent] | None:
        try:
            async for response in self._stream:
                self._opened = True
                if response.events:
                    self._after_seq = response.events[-1].seq
                    return response.events
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from None
        return None

    def _begin(self) -> grpc.aio.UnaryStreamCall[WatchRunRequest, WatchRunResponse]:
        return self._relay.stream(
            self._relay.mesh.agents.WatchRun,
            WatchRunRequest(run_id=self._run_id, after_seq=self._after_seq),
            seconds=_STREAM_SECONDS,
        )


def _may_pass(error: CrewmeshError) -> bool:
    """Say whether another stream may succeed: the worker was lost, not the watch refused."""
    return isinstance(error, (UnavailableError, DeadlineError)) or type(error) is CrewmeshError


def _pause_seconds(breaks: int) -> float:
    return 0.0 if breaks == 1 else min(_MAX_PAUSE_SECONDS, 0.05 * 2.0 ** (breaks - 2))
