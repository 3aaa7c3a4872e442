"""What containers ask their own service."""

from __future__ import annotations

import asyncio
import sys

from pytest_httpserver import HTTPServer

from crewmesh.common.grpc_server import GrpcServer
from crewmesh.common.identity import Identity


async def ask(target: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crewmesh.common.healthcheck", target,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def nobody(*_: object) -> Identity:
    raise AssertionError("health needs no credentials")


async def test_a_grpc_service_is_healthy_only_while_it_serves() -> None:
    server = GrpcServer(nobody)
    port = await server.start("127.0.0.1:0")
    target = f"127.0.0.1:{port}"
    try:
        status, said = await ask(target)
        assert (status, said) == (1, f"crewmesh: {target} says NOT_SERVING\n")
        await server.set_serving(True)
        assert await ask(target) == (0, "")
    finally:
        await server.stop(0)
    status, said = await ask(target)
    assert status == 1
    assert "can't be asked: UNAVAILABLE" in said


async def test_a_gateway_is_healthy_only_while_it_answers_200(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/readyz").respond_with_json({"ready": True})
    httpserver.expect_request("/away").respond_with_json({"ready": False}, status=503)
    assert await ask(httpserver.url_for("/readyz")) == (0, "")
    status, said = await ask(httpserver.url_for("/away"))
    assert status == 1
    assert "answers 503" in said
    assert '"ready": false' in said


async def test_nothing_else_is_asked() -> None:
    status, said = await ask("http://127.0.0.1:1/readyz")
    assert status == 1
    assert "can't be reached" in said
