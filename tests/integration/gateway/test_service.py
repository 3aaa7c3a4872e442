from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest

from tests.conftest import API_KEY, MESH_SECRET, until
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway


@asynccontextmanager
async def gateway_process(
    mesh: FakeMesh, ready_file: Path, **variables: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    environment = {
        **os.environ,
        "CREWMESH_PORT": "0",
        "CREWMESH_WORKER_TARGET": mesh.worker_target,
        "CREWMESH_STORE_TARGET": mesh.store_target,
        "CREWMESH_MESH_SECRET": MESH_SECRET,
        "CREWMESH_READY_FILE": str(ready_file),
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crewmesh_gateway", env=environment, stderr=asyncio.subprocess.PIPE
    )

    async def is_ready() -> bool:
        assert process.returncode is None
        return ready_file.exists()

    await until(is_ready, 30)
    try:
        yield process, json.loads(ready_file.read_text())["url"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_sigterm_ends_streams_lets_requests_finish_and_exits_with_0(
    mesh: FakeMesh, tmp_path: Path
) -> None:
    fake = mesh.agents.make_run()
    await fake.append("run.queued")
    headers = {"Authorization": f"Bearer {API_KEY}", "Accept": "text/event-stream"}
    async with gateway_process(mesh, tmp_path / "ready.json") as (process, url):
        async with httpx2.AsyncClient(base_url=url, headers=headers) as client:
            waiting = asyncio.create_task(client.get(f"/v1/runs/{fake.run.id}?wait=8", timeout=30))
            async with client.stream("GET", f"/v1/runs/{fake.run.id}/events") as response:
                lines = response.aiter_lines()
                await anext(lines)
                process.send_signal(signal.SIGTERM)
                async for _ in lines:
                    pass
            await fake.end()
            assert (await waiting).json()["status"] == "succeeded"
        assert process.stderr is not None
        log = await process.stderr.read()
        assert await process.wait() == 0

    request = next(json.loads(line) for line in log.splitlines() if b'"/v1/runs/{run_id}"' in line)
    assert request["method"] == "GET"
    assert request["route"] == "/v1/runs/{run_id}"
    assert request["status"] == 200
    assert request["duration_ms"] > 0
    assert request["request_id"]
    assert API_KEY.encode() not in log


async def test_a_stop_does_not_wait_longer_than_it_may(mesh: FakeMesh, tmp_path: Path) -> None:
    fake = mesh.agents.make_run()
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with (
        gateway_process(mesh, tmp_path / "ready.json", CREWMESH_DRAIN_SECONDS="1") as (
            process,
            url,
        ),
        httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
    ):
        waiting = asyncio.create_task(client.get(f"/v1/runs/{fake.run.id}?wait=60"))

        async def is_waiting() -> bool:
            return bool(mesh.agents.waits)

        await until(is_waiting)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 8) == 0
        assert (await waiting).status_code == 503


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"CREWMESH_WORKER_TARGET": ""}, "CREWMESH_WORKER_TARGET"),
        ({"CREWMESH_MESH_SECRET": "short"}, "CREWMESH_MESH_SECRET"),
        ({"CREWMESH_PORT": "70000"}, "CREWMESH_PORT"),
        ({"CREWMESH_MESH_SECRET_FILE": "/nowhere"}, "CREWMESH_MESH_SECRET_FILE"),
    ],
)
async def test_a_wrong_setting_stops_the_start_with_one_line(
    variables: dict[str, str], named: str
) -> None:
    environment = {
        **os.environ,
        "CREWMESH_WORKER_TARGET": "ipv4:127.0.0.1:1",
        "CREWMESH_STORE_TARGET": "ipv4:127.0.0.1:1",
        "CREWMESH_MESH_SECRET": MESH_SECRET,
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crewmesh_gateway", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await process.communicate()

    assert process.returncode == 2
    assert len(stderr.splitlines()) == 1
    assert named in stderr.decode()


async def test_a_port_that_is_taken_stops_the_start_with_one_line(
    mesh: FakeMesh, gateway: ServedGateway
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "crewmesh_gateway",
        env={
            **os.environ,
            "CREWMESH_PORT": gateway.url.rpartition(":")[2],
            "CREWMESH_WORKER_TARGET": mesh.worker_target,
            "CREWMESH_STORE_TARGET": mesh.store_target,
            "CREWMESH_MESH_SECRET": MESH_SECRET,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()

    assert process.returncode == 1
    assert len(stderr.splitlines()) == 1
    assert b"CREWMESH_PORT" in stderr


async def test_ready_tells_dependency_by_dependency(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    ready = await client.get("/readyz")
    await mesh.store.set_serving(False)
    unready = await client.get("/readyz")
    for port in list(mesh.workers):
        await mesh.kill_worker(port)
    gone = await client.get("/readyz")

    assert ready.status_code == 200
    assert ready.json() == {
        "ready": True,
        "dependencies": {"agent_worker": "serving", "store": "serving"},
    }
    assert unready.status_code == 503
    assert unready.json()["dependencies"] == {"agent_worker": "serving", "store": "not_serving"}
    assert set(gone.json()["dependencies"].values()) == {"not_serving"}
    assert (await client.get("/healthz")).status_code == 200


async def test_metrics_count_requests_by_route_and_open_streams(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    await fake.append("run.queued")
    await client.get(f"/v1/runs/{fake.run.id}")
    await client.get("/v1/runs/nothing")
    await client.get("/nowhere")
    headers = {"Accept": "text/event-stream"}
    async with client.stream("GET", f"/v1/runs/{fake.run.id}/events", headers=headers):
        metrics = (await client.get("/metrics")).text

    requests = "crewmesh_gateway_requests_total"
    assert f'{requests}{{method="GET",route="/v1/runs/{{run_id}}",status="200"}} 1.0' in metrics
    assert f'{requests}{{method="GET",route="/v1/runs/{{run_id}}",status="404"}} 1.0' in metrics
    assert f'{requests}{{method="GET",route="unmatched",status="404"}} 1.0' in metrics
    assert "crewmesh_gateway_event_streams_open 1.0" in metrics
    assert 'crewmesh_gateway_request_duration_seconds_count{method="GET"' in metrics
    assert fake.run.id not in metrics


async def test_with_a_port_of_their_own_metrics_are_not_at_the_public_one(
    mesh: FakeMesh, tmp_path: Path
) -> None:
    ready = tmp_path / "ready.json"
    variables = {"CREWMESH_METRICS_ADDRESS": "127.0.0.1:0"}
    async with (
        gateway_process(mesh, ready, **variables) as (_, url),
        httpx2.AsyncClient() as client,
    ):
        public = await client.get(f"{url}/metrics")
        address = json.loads(ready.read_text(encoding="utf-8"))["metrics"]
        read = (await client.get(f"http://{address}/metrics")).text
    assert (public.status_code, public.json()["code"]) == (404, "not_found")
    assert "crewmesh_gateway_requests_total" in read


async def test_the_documentation_page_loads_nothing_from_elsewhere(
    shared_client: httpx2.AsyncClient,
) -> None:
    page = (await shared_client.get("/docs")).text
    loaded = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", page)

    assert len(loaded) >= 4
    for address in loaded:
        assert urljoin("http://here/", address).startswith("http://here/")
        assert (await shared_client.get(address)).status_code == 200
    assert not re.search(r"https?://", page)
    assert '"validatorUrl": null' in page


async def test_the_schema_describes_every_call(shared_client: httpx2.AsyncClient) -> None:
    schema = (await shared_client.get("/openapi.json")).json()

    assert schema["openapi"].startswith("3.1")
    assert "servers" not in schema
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            check_operation(path, operation)


def check_operation(path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    for status, response in operation["responses"].items():
        if path.startswith("/v1/") and status >= "400":
            assert list(response["content"]) == ["application/problem+json"]
            reference = response["content"]["application/problem+json"]["schema"]["$ref"]
            assert reference == "#/components/schemas/Problem"
    if path.startswith("/v1/auth/"):
        assert "security" not in operation
        assert {"401", "429", "500", "503", "504"} <= set(operation["responses"])
    elif path.startswith("/v1/"):
        assert operation["security"] == [{"ApiKey": []}]
        assert {"401", "403", "429", "500", "503", "504"} <= set(operation["responses"])
    else:
        assert "security" not in operation


async def test_the_front_door_says_where_to_read_on(shared_gateway: ServedGateway) -> None:
    index = (await shared_gateway.client.get("/")).json()

    assert index["docs"] == "/docs"
    assert index["openapi"] == "/openapi.json"
