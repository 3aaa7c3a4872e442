"""A mesh that is asked for too much, or whose clients don't keep up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from tests.conftest import until
from tests.e2e.conftest import Mesh

_SLOW_WATCHERS = 50
# Of one run, in chunks of 8,000 characters: 8 MB, which no kernel's buffers hold for a client.
_CHUNKS = 1000
# If any part kept for each slow watcher what it doesn't read, that would be 400 MB.
_ALLOWED_MIB = 160


@pytest.mark.long
async def test_a_full_queue_refuses_more_and_the_mesh_stays_healthy(mesh: Mesh) -> None:
    async with mesh.limits(max_running=1, max_queued=2):
        running = await mesh.start_run("paced", words=1000, pause_ms=50)

        async def runs() -> bool:
            return bool((await mesh.get(f"/v1/runs/{running['id']}"))["status"] == "running")

        await until(runs)
        accepted = [running, *[await mesh.start_run("hello") for _ in range(2)]]
        for _ in range(3):
            async with mesh.http.post("/v1/runs", json={"crew": "hello"}) as response:
                assert response.status == 429
                assert response.content_type == "application/problem+json"
                assert int(response.headers["Retry-After"]) >= 1
                problem = await response.json()
            assert problem["code"] == "queue_full"
            assert problem["status"] == 429
            assert await mesh.get_all("/healthz", "/readyz") == [200, 200]
        await _cancel(mesh, running["id"])
        for run in accepted[1:]:
            types = [event["type"] async for event in mesh.watch(run["id"])]
            assert types[-1] == "run.succeeded"


@pytest.mark.timeout(300)
async def test_watchers_that_do_not_read_cost_neither_others_nor_memory(mesh: Mesh) -> None:
    before = await mesh.start_run("loud", chunks=1)
    assert [e["type"] async for e in mesh.watch(before["id"])][-1] == "run.succeeded"
    held = {name: process.memory_info().rss for name, process in mesh.services().items()}
    run = await mesh.start_run("loud", chunks=_CHUNKS)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(_SLOW_WATCHERS):
            await stack.enter_async_context(_slow_watcher(mesh, run["id"]))

        async def all_watch() -> bool:
            return await _open_streams(mesh) == _SLOW_WATCHERS

        await until(all_watch, 60)
        seen = [event async for event in mesh.watch(run["id"])]
        assert seen[-1]["type"] == "run.succeeded"
        assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
        shouted = sum(len(e["payload"]["text"]) for e in seen if e["type"] == "llm.chunk")
        assert shouted == _CHUNKS * 8_000
        assert await _open_streams(mesh) == _SLOW_WATCHERS
        for name, process in mesh.services().items():
            grown_mib = (process.memory_info().rss - held[name]) / 2**20
            assert grown_mib < _ALLOWED_MIB, name


@contextlib.asynccontextmanager
async def _slow_watcher(mesh: Mesh, run_id: str) -> AsyncIterator[None]:
    """Ask for a run's events and read none of them."""
    address = urlsplit(mesh.url)
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(connection, (address.hostname, address.port))
        head = (
            f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {mesh.api_key}\r\nAccept: text/event-stream\r\n\r\n"
        )
        await loop.sock_sendall(connection, head.encode())
        yield


async def _open_streams(mesh: Mesh) -> int:
    async with mesh.http.get("/metrics") as response:
        for line in (await response.text()).splitlines():
            if line.startswith("crewmesh_gateway_event_streams_open "):
                return int(float(line.split()[1]))
    raise AssertionError("the gateway doesn't count its open streams")


async def _cancel(mesh: Mesh, run_id: str) -> None:
    async with mesh.http.post(f"/v1/runs/{run_id}/cancel") as response:
        assert response.status == 200, await response.text()
