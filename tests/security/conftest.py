"""The mesh's whole front in this process: a real gateway, worker and store. No run is carried out."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest

from crewmesh.common.grpc_client import open_channel
from crewmesh_worker.service import Worker
from crewmesh_worker.settings import WorkerSettings
from tests.conftest import API_KEY, MESH_SECRET, new_database
from tests.integration.conftest import StoreClient, new_key, serving_store
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway, serving_gateway
from tests.security.counts import COUNTS

SECRETS_KEY = new_key()
CREDENTIAL = (("authorization", f"Bearer {API_KEY}"),)


@dataclass
class Front:
    """What outsiders reach, and the store behind it."""

    gateway: ServedGateway
    agents: grpc.aio.Channel
    store: StoreClient
    database_url: str

    @property
    def http(self) -> httpx2.AsyncClient:
        return self.gateway.client


class FrontWorker(Worker):
    """A worker that takes calls and has no runners: what it accepts stays queued."""

    async def start_front(self) -> str:
        async def nothing() -> None:
            pass

        self._runners.start = self._runners.stop = nothing  # type: ignore[method-assign]
        self._slots.close()
        await self.start()
        await self._server.set_serving(True)
        return self.address


@contextlib.asynccontextmanager
async def serving_worker(store: StoreClient, **settings: Any) -> AsyncIterator[str]:
    worker = FrontWorker(
        WorkerSettings(
            store_target=f"ipv4:127.0.0.1:{store.port}",
            worker_address="127.0.0.1:0",
            mesh_secret=MESH_SECRET,
            **settings,
        )
    )
    try:
        yield await worker.start_front()
    finally:
        await worker.stop()


@contextlib.asynccontextmanager
async def serving_front(postgres: str, directory: Path) -> AsyncIterator[Front]:
    async with contextlib.AsyncExitStack() as stack:
        database_url = stack.enter_context(new_database(postgres))
        store = await stack.enter_async_context(
            serving_store(database_url, directory, secrets_key=SECRETS_KEY)
        )
        worker = await stack.enter_async_context(serving_worker(store))
        mesh = FakeMesh(worker_target=f"ipv4:{worker}", store_target=f"ipv4:127.0.0.1:{store.port}")
        gateway = await stack.enter_async_context(serving_gateway(mesh, max_upload_mb=1))
        agents = open_channel(f"ipv4:{worker}")
        stack.push_async_callback(agents.close)
        yield Front(gateway, agents, store, database_url)


@pytest.fixture(scope="session")
async def front(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """For tests that leave nothing behind."""
    async with serving_front(postgres, tmp_path_factory.mktemp("front")) as served:
        yield served


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        terminalreporter.section("security checks")
        for part, checks in sorted(COUNTS.items()):
            terminalreporter.line(f"{checks:>7,}  {part}")
        terminalreporter.line(f"{COUNTS.total():>7,}  in all")
