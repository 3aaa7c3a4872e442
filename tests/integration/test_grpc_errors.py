"""Errors on their way through gRPC, and what gRPC says itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from crewmesh.common.errors import (
    CrewmeshError,
    DeadlineError,
    InvalidInputError,
    StateError,
    UnavailableError,
    Violation,
)
from crewmesh.common.grpc_client import agent_stub
from crewmesh.common.grpc_server import GrpcServer, rpc_errors
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, agent_pb2_grpc


class Agents(agent_pb2_grpc.AgentServiceServicer):
    """Fails as it is told to, or hangs."""

    error: Exception | None = None
    status: grpc.StatusCode | None = None

    def __init__(self) -> None:
        self.called = asyncio.Event()

    async def GetRun(self, request: Any, context: Any) -> Any:
        self.called.set()
        if self.error is not None:
            raise self.error
        if self.status is not None:
            await context.abort(self.status)
        await asyncio.Event().wait()


async def admit(*_: Any) -> Identity:
    return Identity("test", "org", "somebody", "viewer")


@pytest.fixture
async def agents() -> AsyncIterator[tuple[Agents, Any, GrpcServer]]:
    servicer, server = Agents(), GrpcServer(admit)
    server.add(agent_pb2_grpc.add_AgentServiceServicer_to_server, servicer, "a")
    port = await server.start("127.0.0.1:0")
    # Not one of ours, which would ask again.
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield servicer, agent_stub(channel), server
    await server.stop(0)


async def failure(stub: Any, **options: Any) -> CrewmeshError:
    with pytest.raises(CrewmeshError) as raised, rpc_errors():
        await stub.GetRun(agent_pb2.GetRunRequest(), **options)
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        StateError("it has ended", reason="RUN_ENDED"),
        InvalidInputError("wrong", violations=[Violation("inputs.a", "too small")]),
        UnavailableError("later", retry_after_seconds=3),
    ],
)
async def test_an_error_arrives_as_it_was_raised(agents: Any, error: CrewmeshError) -> None:
    servicer, stub, _ = agents
    servicer.error = error
    found = await failure(stub)
    assert type(found) is type(error)
    assert vars(found) == vars(error)


async def test_what_nobody_expected_arrives_without_what_it_was(agents: Any) -> None:
    servicer, stub, _ = agents
    servicer.error = ZeroDivisionError("a secret")
    found = await failure(stub)
    assert type(found) is CrewmeshError
    assert (found.reason, "secret" in found.message) == ("INTERNAL", False)


@pytest.mark.parametrize("status", ["CANCELLED", "UNKNOWN", "INTERNAL"])
async def test_a_status_that_is_none_of_ours_says_that_the_call_was_broken_off(
    agents: Any, status: str
) -> None:
    servicer, stub, _ = agents
    servicer.status = grpc.StatusCode[status]
    found = await failure(stub)
    assert isinstance(found, UnavailableError)
    assert found.message.startswith("the call was broken off")


async def test_a_call_that_a_stopping_server_cuts_short_may_be_made_again(agents: Any) -> None:
    servicer, stub, server = agents
    failing = asyncio.create_task(failure(stub))
    await servicer.called.wait()
    await server.stop(0)
    assert isinstance(await failing, UnavailableError)


async def test_a_deadline_stays_one(agents: Any) -> None:
    _, stub, _ = agents
    assert isinstance(await failure(stub, timeout=0.1), DeadlineError)
