"""Mutual TLS between services: who is let in, and certificates that change meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crewmesh.cli.authority import Authority, issue, open_authority
from crewmesh.common.errors import CrewmeshError, UnauthenticatedError, UnavailableError
from crewmesh.common.grpc_client import agent_stub, open_channel
from crewmesh.common.grpc_server import GrpcServer, rpc_errors
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.common.mesh_tls import TlsDirectory
from crewmesh.v1 import agent_pb2, agent_pb2_grpc
from tests.conftest import MESH_SECRET
from tests.integration.test_healthcheck import ask

STATEMENT = IdentitySigner(MESH_SECRET, "api_gateway").metadata(
    Identity("api_gateway", "org", "somebody", "viewer")
)


class Agents(agent_pb2_grpc.AgentServiceServicer):
    """Answers at once, and streams until it is told to end."""

    def __init__(self) -> None:
        self.streaming = asyncio.Event()
        self.end = asyncio.Event()

    async def GetRun(self, request: Any, context: Any) -> Any:
        return agent_pb2.GetRunResponse()

    async def WatchRun(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield agent_pb2.WatchRunResponse()
        self.streaming.set()
        await self.end.wait()
        yield agent_pb2.WatchRunResponse()


class Mesh:
    """An authority, a worker that it certifies, and clients."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = open_authority(directory)
        self.agents = Agents()
        self.worker = self.certify("agent-worker")
        self.port = self.public_port = 0

    def certify(self, role: str, authority: Authority | None = None, days: int = 1) -> TlsDirectory:
        issue(authority or self.authority, self.directory, role, [], days)
        return TlsDirectory(self.directory / role)

    @contextlib.asynccontextmanager
    async def client(
        self, tls: TlsDirectory | None, role: str = "agent-worker"
    ) -> AsyncIterator[Any]:
        channel = open_channel(f"ipv4:127.0.0.1:{self.port}", tls, role)
        yield agent_stub(channel)
        await channel.close()

    async def fault_of(self, tls: TlsDirectory | None, **options: Any) -> CrewmeshError:
        async with self.client(tls, **options) as stub:
            with pytest.raises(CrewmeshError) as raised, rpc_errors():
                await stub.GetRun(agent_pb2.GetRunRequest(), metadata=STATEMENT, timeout=10)
        return raised.value


async def admit(*_: Any) -> Identity:
    return Identity("api_gateway", "org", "somebody", "viewer")


@pytest.fixture
async def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    monkeypatch.setattr("crewmesh.common.mesh_tls._LOOK_SECONDS", 0.0)
    mesh = Mesh(tmp_path)
    server = GrpcServer(admit, tls=mesh.worker, peers=("api-gateway",))
    server.add(agent_pb2_grpc.add_AgentServiceServicer_to_server, mesh.agents, "a")
    mesh.public_port = server.add_public_port("127.0.0.1:0", mesh.worker)
    mesh.port = await server.start("127.0.0.1:0")
    await server.set_serving(True)
    yield mesh
    await server.stop(0)


async def test_the_gateway_is_let_in_and_others_certificates_are_not(mesh: Mesh) -> None:
    async with mesh.client(mesh.certify("api-gateway")) as stub:
        await stub.GetRun(agent_pb2.GetRunRequest(), metadata=STATEMENT)
    fault = await mesh.fault_of(mesh.certify("client"))
    assert isinstance(fault, UnauthenticatedError)
    assert "the role 'client'" in fault.message


async def test_a_client_of_the_mesh_may_bring_credentials_but_no_statement(mesh: Mesh) -> None:
    async with mesh.client(mesh.certify("client")) as stub:
        await stub.GetRun(agent_pb2.GetRunRequest(), metadata=(("authorization", "Bearer k"),))


async def test_no_certificate_opens_no_connection(mesh: Mesh) -> None:
    assert isinstance(await mesh.fault_of(None), UnavailableError)
    authority = (mesh.directory / "ca.pem").read_bytes()
    async with grpc.aio.secure_channel(
        f"127.0.0.1:{mesh.port}",
        grpc.ssl_channel_credentials(authority),
        options=[("grpc.ssl_target_name_override", "agent-worker")],
    ) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await agent_stub(channel).GetRun(agent_pb2.GetRunRequest(), metadata=STATEMENT)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_expired_certificate_opens_no_connection(mesh: Mesh) -> None:
    assert isinstance(await mesh.fault_of(mesh.certify("api-gateway", days=-1)), UnavailableError)


async def test_a_foreign_authoritys_certificate_opens_no_connection(
    mesh: Mesh, tmp_path: Path
) -> None:
    (tmp_path / "foreign").mkdir()
    foreign = open_authority(tmp_path / "foreign")
    issue(foreign, tmp_path / "foreign", "api-gateway", [], 1)
    # It knows the mesh's authority, so that nothing but its own certificate is at fault.
    (tmp_path / "foreign" / "api-gateway" / "ca.pem").write_bytes(
        (mesh.directory / "ca.pem").read_bytes()
    )
    fault = await mesh.fault_of(TlsDirectory(tmp_path / "foreign" / "api-gateway"))
    assert isinstance(fault, UnavailableError)


async def test_a_server_of_another_role_is_not_spoken_to(mesh: Mesh) -> None:
    fault = await mesh.fault_of(mesh.certify("api-gateway"), role="store")
    assert isinstance(fault, UnavailableError)


async def test_the_public_port_takes_credentials_and_no_statement(mesh: Mesh) -> None:
    async with grpc.aio.secure_channel(
        f"127.0.0.1:{mesh.public_port}",
        grpc.ssl_channel_credentials((mesh.directory / "ca.pem").read_bytes()),
        options=[("grpc.ssl_target_name_override", "agent-worker")],
    ) as channel:
        stub = agent_stub(channel)
        await stub.GetRun(agent_pb2.GetRunRequest(), metadata=(("authorization", "Bearer k"),))
        with pytest.raises(UnauthenticatedError, match="none of the mesh's roles"), rpc_errors():
            await stub.GetRun(agent_pb2.GetRunRequest(), metadata=STATEMENT)


async def test_a_renewed_certificate_is_taken_and_no_call_is_lost(mesh: Mesh) -> None:
    """Everything is replaced at once, the authority, too: nothing old is believed any more."""
    gateway = mesh.certify("api-gateway")
    async with mesh.client(gateway) as stub:
        watching = stub.WatchRun(agent_pb2.WatchRunRequest(), metadata=STATEMENT)
        messages = aiter(watching)
        await anext(messages)
        for name in ("ca.pem", "ca-key.pem"):
            (mesh.directory / name).unlink()
        renewed = open_authority(mesh.directory)
        mesh.certify("agent-worker", renewed)
        mesh.certify("api-gateway", renewed)
        await stub.GetRun(agent_pb2.GetRunRequest(), metadata=STATEMENT)
        mesh.agents.end.set()
        await anext(messages)
        assert await watching.code() is grpc.StatusCode.OK


async def test_health_checks_show_their_services_certificate(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"127.0.0.1:{mesh.port}"
    assert (await ask(target))[0] == 1
    monkeypatch.setenv("CREWMESH_TLS_DIR", str(mesh.directory / "agent-worker"))
    assert await ask(target) == (0, "")
