"""Streams whose reader leaves before their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from crewmesh.common.grpc_client import agent_stub, ending
from crewmesh.common.grpc_server import GrpcServer
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, agent_pb2_grpc, run_pb2

# More than may be on its way to a reader who doesn't read.
_EVENT = run_pb2.RunEvent(type="log", payload_json="x" * 100_000)


class Source(agent_pb2_grpc.AgentServiceServicer):
    """Streams without end, and notes when its reader has gone."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def WatchRun(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield agent_pb2.WatchRunResponse(events=[_EVENT])
        finally:
            self.left.set()


class Between(agent_pb2_grpc.AgentServiceServicer):
    """Passes the source's stream on, as a worker does with the store's."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.calls: list[grpc.aio.Call] = []

    async def WatchRun(self, request: Any, context: Any) -> AsyncIterator[Any]:
        call = self._source.WatchRun(request)
        self.calls.append(call)
        with ending(call):
            async for response in call:
                yield response


async def admit(*_: Any) -> Identity:
    return Identity("test", "org", "somebody", "viewer")


async def serve(servicer: Any) -> tuple[GrpcServer, grpc.aio.Channel]:
    server = GrpcServer(admit)
    server.add(agent_pb2_grpc.add_AgentServiceServicer_to_server, servicer, "a")
    return server, grpc.aio.insecure_channel(f"127.0.0.1:{await server.start('127.0.0.1:0')}")


@pytest.mark.timeout(60)
async def test_who_leaves_without_reading_on_ends_every_stream_behind_it() -> None:
    """What came of such streams and was never read stayed in memory: some KiB a run."""
    source = Source()
    source_server, source_channel = await serve(source)
    between = Between(agent_stub(source_channel))
    server, channel = await serve(between)
    call = agent_stub(channel).WatchRun(agent_pb2.WatchRunRequest())
    await call.read()
    call.cancel()
    await source.left.wait()
    assert [each.done() for each in between.calls] == [True]
    for each in (channel, source_channel):
        await each.close()
    for each_server in (server, source_server):
        await each_server.stop(0)
