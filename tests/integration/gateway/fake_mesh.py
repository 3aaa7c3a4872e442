"""An in-memory mesh behind real gRPC servers, and a real gateway in front of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from crewmesh.common.grpc_server import GrpcServer
from crewmesh.common.identity import IDENTITY_METADATA_KEY, Identity, IdentityVerifier
from crewmesh.v1 import (
    agent_pb2_grpc,
    file_pb2_grpc,
    identity_pb2_grpc,
    limit_pb2_grpc,
    run_store_pb2_grpc,
)
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.mesh import Mesh
from crewmesh_gateway.oidc.provider import OidcProvider
from crewmesh_gateway.service import GatewayServer, listen
from crewmesh_gateway.settings import GatewaySettings
from tests.conftest import API_KEY, MESH_SECRET
from tests.integration.gateway.fake_agents import FakeAgents
from tests.integration.gateway.fake_store import (
    FakeFiles,
    FakeFleet,
    FakeIdentities,
    FakeLimits,
)


async def _authenticate(metadata: Mapping[str, str], _address: str) -> Identity:
    return IdentityVerifier(MESH_SECRET).verify(metadata.get(IDENTITY_METADATA_KEY, ""))


@dataclass
class FakeMesh:
    """What stands behind the gateway; two workers answer for the same runs."""

    agents: FakeAgents = field(default_factory=FakeAgents)
    identities: FakeIdentities = field(default_factory=FakeIdentities)
    limits: FakeLimits = field(default_factory=FakeLimits)
    files: FakeFiles = field(default_factory=FakeFiles)
    fleet: FakeFleet = field(default_factory=FakeFleet)
    workers: dict[int, GrpcServer] = field(default_factory=dict)
    store: GrpcServer = field(default_factory=lambda: GrpcServer(_authenticate))
    worker_target: str = ""
    store_target: str = ""

    async def start_worker(self, port: int = 0) -> None:
        worker = GrpcServer(_authenticate)
        worker.add(
            agent_pb2_grpc.add_AgentServiceServicer_to_server,
            self.agents,
            "crewmesh.v1.AgentService",
        )
        port = await worker.start(f"127.0.0.1:{port}")
        await worker.set_serving(True)
        self.workers[port] = worker

    async def kill_worker(self, port: int) -> None:
        await self.workers.pop(port).stop(0)

    async def stop(self) -> None:
        for server in (*self.workers.values(), self.store):
            await server.stop(0)


async def start_fake_mesh() -> FakeMesh:
    """Serve the mesh on free ports."""
    mesh = FakeMesh()
    await mesh.start_worker()
    await mesh.start_worker()
    mesh.worker_target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in mesh.workers)
    mesh.store.add(
        identity_pb2_grpc.add_IdentityServiceServicer_to_server,
        mesh.identities,
        "crewmesh.v1.IdentityService",
    )
    mesh.store.add(
        limit_pb2_grpc.add_LimitServiceServicer_to_server, mesh.limits, "crewmesh.v1.LimitService"
    )
    mesh.store.add(
        file_pb2_grpc.add_FileServiceServicer_to_server, mesh.files, "crewmesh.v1.FileService"
    )
    mesh.store.add(
        run_store_pb2_grpc.add_RunStoreServiceServicer_to_server,
        mesh.fleet,
        "crewmesh.v1.RunStoreService",
    )
    mesh.store_target = f"ipv4:127.0.0.1:{await mesh.store.start('127.0.0.1:0')}"
    await mesh.store.set_serving(True)
    return mesh


@dataclass
class ServedGateway:
    """A gateway that listens, and a client of it that holds the owner's key."""

    gateway: Gateway
    url: str
    client: httpx2.AsyncClient
    stop: asyncio.Event
    serving: asyncio.Task[None]


@contextlib.asynccontextmanager
async def serving_gateway(mesh: FakeMesh, **settings: Any) -> AsyncIterator[ServedGateway]:
    """Serve a gateway on a free port."""
    configured = GatewaySettings(
        **{
            "worker_target": mesh.worker_target,
            "store_target": mesh.store_target,
            "mesh_secret": MESH_SECRET,
            "drain_seconds": 3,
            "port": 0,
            **settings,
        }
    )
    connected = Mesh(mesh.worker_target, mesh.store_target, configured.mesh_secret)
    gateway = Gateway(
        connected,
        mesh_secret=configured.mesh_secret,
        max_body_bytes=configured.max_body_kb * 1024,
        max_upload_bytes=configured.max_upload_mb * 1024 * 1024,
        requests_per_minute=configured.requests_per_minute,
        address_requests_per_minute=configured.address_requests_per_minute,
        oidc=OidcProvider(provider) if (provider := configured.oidc()) else None,
        graphql=configured.graphql(),
        publishes_metrics=not configured.metrics_address,
    )
    stop = asyncio.Event()
    server = GatewayServer(gateway, configured, stop)
    listener = listen(configured.host, configured.port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:
        assert not serving.done(), serving
        await asyncio.sleep(0.005)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        yield ServedGateway(gateway, url, client, stop, serving)
    stop.set()
    await serving
    await connected.close()
