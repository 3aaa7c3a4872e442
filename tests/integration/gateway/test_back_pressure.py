"""A mesh that has enough to do, or of which a part is away."""

from __future__ import annotations

import httpx2

from crewmesh.common.errors import ExhaustedError
from tests.integration.gateway.fake_mesh import FakeMesh
from tests.integration.gateway.test_errors import check_problem

RUN = {"crew": "data-analyst"}


async def check_readiness(client: httpx2.AsyncClient, **dependencies: str) -> None:
    """The gateway lives, and says which dependencies serve."""
    assert (await client.get("/healthz")).status_code == 200
    ready = await client.get("/readyz")
    all_serve = set(dependencies.values()) == {"serving"}
    assert ready.status_code == (200 if all_serve else 503)
    assert ready.json() == {"ready": all_serve, "dependencies": dependencies}


async def test_a_full_queue_is_429_with_the_time_to_wait_and_the_gateway_is_ready(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    full = ExhaustedError("the queue is full", reason="QUEUE_FULL", retry_after_seconds=4.2)
    mesh.agents.failures = [full]
    response = await client.post("/v1/runs", json=RUN)

    problem = check_problem(response, 429)
    assert (problem["code"], problem["detail"]) == ("queue_full", "the queue is full")
    assert response.headers["retry-after"] == "5"
    await check_readiness(client, agent_worker="serving", store="serving")
    assert (await client.post("/v1/runs", json=RUN)).status_code == 202


async def test_without_workers_runs_are_503_and_the_rest_goes_on(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    for port in list(mesh.workers):
        await mesh.kill_worker(port)
    for headers in ({}, {"Idempotency-Key": "again-and-again"}):
        response = await client.post("/v1/runs", json=RUN, headers=headers)
        assert check_problem(response, 503)["code"] == "unavailable"
        assert int(response.headers["retry-after"]) >= 1
    await check_readiness(client, agent_worker="not_serving", store="serving")
    assert (await client.get("/v1/limits")).status_code == 200


async def test_without_a_store_calls_are_503_and_the_gateway_lives(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    assert (await client.get("/v1/limits")).status_code == 200
    await mesh.store.stop(0)
    for key in (client.headers["authorization"], "Bearer cm_never-seen-before"):
        response = await client.get("/v1/limits", headers={"Authorization": key})
        assert check_problem(response, 503)["code"] == "unavailable"
        assert int(response.headers["retry-after"]) >= 1
    await check_readiness(client, agent_worker="serving", store="not_serving")
