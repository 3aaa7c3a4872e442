"""The whole mesh over mutual TLS, its certificates replaced while a run is under way."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from crewmesh.cli.authority import issue, open_authority
from crewmesh.common.grpc_client import agent_stub
from crewmesh.common.mesh_tls import CLIENT, ROLES
from crewmesh.v1 import agent_pb2
from tests.conftest import until
from tests.e2e.conftest import Mesh, running_mesh

pytestmark = pytest.mark.long


async def presented(mesh: Mesh, tls: Path) -> bool:
    """Say whether the worker is to be reached with what is in the directory now."""
    own = tls / CLIENT
    credentials = grpc.ssl_channel_credentials(
        *((own / name).read_bytes() for name in ("ca.pem", "key.pem", "cert.pem"))
    )
    options = [("grpc.ssl_target_name_override", "agent-worker")]
    key = (("authorization", f"Bearer {mesh.api_key}"),)
    async with grpc.aio.secure_channel(mesh.grpc, credentials, options=options) as channel:
        try:
            listed = await agent_stub(channel).ListCrews(agent_pb2.ListCrewsRequest(), metadata=key)
        except grpc.aio.AioRpcError:
            return False
    return bool(listed.crews)


def certify(tls: Path) -> None:
    authority = open_authority(tls)
    for role in ROLES:
        issue(authority, tls, role, [], 1)


async def test_runs_go_on_while_every_certificate_and_the_authority_are_replaced(
    tmp_path: Path,
) -> None:
    tls = tmp_path / "tls"
    tls.mkdir()
    certify(tls)
    async with running_mesh(tmp_path / "mesh", CREWMESH_TLS_DIR=str(tls)) as mesh:
        assert await presented(mesh, tls)
        async with grpc.aio.insecure_channel(mesh.grpc) as channel:
            call = agent_stub(channel).ListCrews(agent_pb2.ListCrewsRequest())
            assert await call.code() is grpc.StatusCode.UNAVAILABLE

        run = await mesh.start_run("paced", words=300, pause_ms=4)
        events, replaced = [], False
        async for event in mesh.watch(run["id"]):
            events.append(event)
            if event["type"] == "llm.chunk" and not replaced:
                for name in ("ca.pem", "ca-key.pem"):
                    (tls / name).unlink()
                certify(tls)
                await until(lambda: presented(mesh, tls))
                replaced = True
        assert replaced
        assert events[-1]["type"] == "run.succeeded"
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["attempt"] == 1

        after = await mesh.start_run("hello", topic="new certificates")
        assert (await mesh.get(f"/v1/runs/{after['id']}?wait=30"))["status"] == "succeeded"
