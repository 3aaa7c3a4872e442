"""How replicas of the store start, with Postgres there or not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from psycopg.conninfo import conninfo_to_dict

from crewmesh.common.errors import InvalidInputError, UnavailableError
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import run_store_pb2, run_store_pb2_grpc
from crewmesh_store.database import conninfo
from crewmesh_store.migrations import migrate
from crewmesh_store.service import Store
from crewmesh_store.settings import StoreSettings
from tests.chaos.proxy import Link, to_socket
from tests.conftest import MESH_SECRET, until
from tests.integration.conftest import serving_store

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
async def link(empty_database_url: str) -> AsyncIterator[Link]:
    """A way to Postgres over TCP that can be broken."""
    directory = conninfo_to_dict(empty_database_url)["host"]
    link = Link("store to postgres", to_socket(f"{directory}/.s.PGSQL.5432"))
    await link.open()
    yield link
    link.close()


@pytest.fixture
def url_over_link(empty_database_url: str, link: Link) -> str:
    parameters = conninfo_to_dict(empty_database_url)
    return f"postgresql://{parameters['user']}@{link.address}/{parameters['dbname']}"


async def test_replicas_that_start_at_once_on_an_empty_database_make_one_owner(
    empty_database_url: str, tmp_path: Path
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        replicas = await asyncio.gather(
            *(
                stack.enter_async_context(serving_store(empty_database_url, tmp_path))
                for _ in range(4)
            )
        )
        assert len({(replica.org.org_id, replica.org.user_id) for replica in replicas}) == 1


def test_a_database_that_cannot_be_reached_is_named_as_the_reason() -> None:
    with pytest.raises(UnavailableError, match=r"CREWMESH_DATABASE_URL.*Connection refused"):
        migrate(NOWHERE)


@pytest.mark.parametrize("how", ["refuse", "hold"])
async def test_a_store_that_starts_without_postgres_waits_for_it_and_says_that_it_does_not_serve(
    url_over_link: str, link: Link, tmp_path: Path, how: str
) -> None:
    getattr(link, how)()
    store = Store(
        StoreSettings(
            database_url=url_over_link,
            mesh_secret=MESH_SECRET,
            object_store_url=f"file://{tmp_path}/objects",
            store_address="127.0.0.1:0",
        )
    )
    starting = asyncio.create_task(store.start())
    await until(lambda: _is(store.port > 0))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{store.port}") as channel:
        assert await _health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _list_workers(channel)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert raised.value.details() == "the store waits for Postgres"
        assert not starting.done()

        await (link.open() if how == "refuse" else asyncio.to_thread(link.release))
        await asyncio.wait_for(starting, 30)
        assert await _health(channel) == health_pb2.HealthCheckResponse.SERVING
        assert list((await _list_workers(channel)).workers) == []
    await store.stop()


async def _is(condition: bool) -> bool:
    return condition


async def _health(channel: grpc.aio.Channel) -> health_pb2.HealthCheckResponse.ServingStatus:
    request = health_pb2.HealthCheckRequest(service="crewmesh.v1.RunStoreService")
    return (await health_pb2_grpc.HealthStub(channel).Check(request)).status


async def _list_workers(channel: grpc.aio.Channel) -> run_store_pb2.ListWorkersResponse:
    stub = run_store_pb2_grpc.RunStoreServiceStub(channel)
    somebody = Identity("api_gateway", str(uuid.uuid4()), "somebody", "viewer")
    metadata = IdentitySigner(MESH_SECRET, "api_gateway").metadata(somebody)
    return await stub.ListWorkers(run_store_pb2.ListWorkersRequest(), metadata=metadata)


@contextlib.asynccontextmanager
async def store_process(
    database_url: str, directory: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crewmesh_store"),
        env={
            **os.environ,
            "CREWMESH_DATABASE_URL": database_url,
            "CREWMESH_MESH_SECRET": MESH_SECRET,
            "CREWMESH_OBJECT_STORE_URL": directory.as_uri(),
            "CREWMESH_STORE_ADDRESS": "127.0.0.1:0",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_store_that_waits_for_postgres_says_so_and_ends_when_it_is_asked_to(
    tmp_path: Path,
) -> None:
    async with store_process(NOWHERE, tmp_path) as process:
        assert process.stderr is not None
        line = (await process.stderr.readline()).decode()
        assert "waiting for Postgres" in line
        assert "Connection refused" in line
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_an_address_that_is_none_of_a_database_stops_the_start_with_one_line(
    tmp_path: Path,
) -> None:
    async with store_process("postgresql://localhost/x?nonsense=1", tmp_path) as process:
        _, errors = await process.communicate()
        assert process.returncode == 1
        (line,) = errors.decode().splitlines()
        assert line.startswith("crewmesh: CREWMESH_DATABASE_URL can't be read: ")
        assert "nonsense" in line


async def test_the_kernel_gives_up_a_connection_to_a_postgres_that_has_vanished(
    url_over_link: str,
) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo(url_over_link)) as connection:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as sock:
            options = {
                name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            }
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert options == {
        "TCP_KEEPIDLE": 10,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 15_000,
    }


def test_what_the_address_itself_says_of_silence_wins() -> None:
    parameters = conninfo_to_dict(conninfo("postgresql://a@b/c?keepalives_idle=99&host=/d"))
    assert parameters["keepalives_idle"] == "99"
    assert (parameters["user"], parameters["host"]) == ("a", "/d")
    assert parameters["tcp_user_timeout"] == "15000"


def test_an_address_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="CREWMESH_DATABASE_URL can't be read"):
        conninfo("postgresql://localhost/x?nonsense=1")
