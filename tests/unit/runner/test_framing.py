from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from crewmesh.v1.runner_pb2 import Execute, FromRunner, Ready, RunnerEvent, ToRunner
from crewmesh_worker.runner.framing import AsyncConnection, Connection, FramingError

LIMIT = 10_000


@pytest.fixture
async def pair() -> AsyncIterator[tuple[AsyncConnection, Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    worker_end = await AsyncConnection.open(ours, LIMIT)
    yield worker_end, Connection(theirs, LIMIT), theirs
    worker_end.close()
    theirs.close()


def event(size: int) -> FromRunner:
    return FromRunner(event=RunnerEvent(type="log", payload_json="x" * size))


async def test_messages_arrive_whole_and_in_order_both_ways(pair) -> None:
    worker_end, runner_end, _ = pair
    runner_end.send(event(9_000))
    runner_end.send(FromRunner(ready=Ready()))
    assert len((await worker_end.receive()).event.payload_json) == 9_000
    assert (await worker_end.receive()).HasField("ready")
    await worker_end.send(ToRunner(execute=Execute(run_id="r")))
    received = await asyncio.to_thread(runner_end.receive)
    assert received is not None
    assert received.execute.run_id == "r"


async def test_a_message_above_the_limit_is_not_sent(pair) -> None:
    worker_end, runner_end, _ = pair
    with pytest.raises(FramingError, match="above the limit of 10,000"):
        runner_end.send(event(LIMIT))
    with pytest.raises(FramingError, match="above the limit"):
        await worker_end.send(ToRunner(execute=Execute(run_id="x" * LIMIT)))
    runner_end.send(event(1))
    assert (await worker_end.receive()).event.payload_json == "x"


async def test_an_announced_length_above_the_limit_is_refused_before_it_is_read(pair) -> None:
    worker_end, _, raw = pair
    raw.sendall(struct.pack(">I", 0xFFFFFFFF))
    with pytest.raises(FramingError, match=r"4,294,967,295 bytes, above 10,000"):
        await worker_end.receive()


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b""], ids=["no protobuf", "no kind of message"])
async def test_bytes_that_are_no_message_are_refused(pair, body: bytes) -> None:
    worker_end, _, raw = pair
    raw.sendall(struct.pack(">I", len(body)) + body)
    with pytest.raises(FramingError):
        await worker_end.receive()


async def test_a_message_that_breaks_off_is_the_end(pair) -> None:
    worker_end, _, raw = pair
    raw.sendall(struct.pack(">I", 100) + b"only this")
    raw.close()
    with pytest.raises(EOFError):
        await worker_end.receive()


async def test_the_runner_hears_of_the_workers_end(pair) -> None:
    worker_end, runner_end, _ = pair
    worker_end.close()
    assert await asyncio.to_thread(runner_end.receive) is None


async def test_a_runner_waits_while_the_worker_does_not_read(pair) -> None:
    worker_end, runner_end, _ = pair

    def send_many() -> None:
        for _ in range(1_000):
            runner_end.send(event(9_000))

    sending = asyncio.create_task(asyncio.to_thread(send_many))
    done, _ = await asyncio.wait([sending], timeout=1)
    assert not done
    for _ in range(1_000):
        await worker_end.receive()
    await sending
