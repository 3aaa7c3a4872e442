from __future__ import annotations

from typing import Any

import httpx2
import pytest

from crewmesh_gateway.schemas import Limits
from tests.integration.gateway.fake_mesh import FakeMesh
from tests.integration.gateway.test_errors import check_problem

LIMITS = {
    "max_running": 2,
    "max_queued": 5,
    "crews": {"data-analyst": 1},
    "max_requests_per_minute": 1000,
}
NONE = {"max_running": None, "max_queued": 10_000, "crews": {}, "max_requests_per_minute": None}


async def test_limits_are_shown_and_replaced(client: httpx2.AsyncClient) -> None:
    first = (await client.get("/v1/limits")).json()
    Limits.model_validate(first)
    assert first == NONE
    for limits in (LIMITS, first):
        put = await client.put("/v1/limits", json=limits)
        assert (put.status_code, put.json()) == (200, limits)
        assert (await client.get("/v1/limits")).json() == limits


async def test_who_may_not_set_limits_is_403_and_may_see_them(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    mesh.identities.role = "developer"
    problem = check_problem(await client.put("/v1/limits", json=LIMITS), 403)
    assert problem["code"] == "forbidden"
    assert "'limits.write', which the role 'developer'" in problem["detail"]
    assert (await client.get("/v1/limits")).status_code == 200


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"max_running": 0}, ["body", "max_running"]),
        ({"max_running": "2"}, ["body", "max_running"]),
        ({"max_running": 1_000_001}, ["body", "max_running"]),
        ({"max_requests_per_minute": 0}, ["body", "max_requests_per_minute"]),
        ({"max_requests_per_minute": 1_000_001}, ["body", "max_requests_per_minute"]),
        ({"max_queued": None}, ["body", "max_queued"]),
        ({"max_queued": 1.5}, ["body", "max_queued"]),
        ({"crews": {"a": 0}}, ["body", "crews", "a"]),
        ({"crews": {"a": None}}, ["body", "crews", "a"]),
        ({"crews": {"../a": 1}}, ["body", "crews", "../a", "[key]"]),
        ({"crews": {f"crew-{n}": 1 for n in range(1001)}}, ["body", "crews"]),
        ({"crews": []}, ["body", "crews"]),
        ({"max_walking": 1}, ["body", "max_walking"]),
    ],
)
async def test_limits_that_cannot_be_are_422(
    shared_client: httpx2.AsyncClient, change: dict[str, Any], loc: list[str]
) -> None:
    response = await shared_client.put("/v1/limits", json={**LIMITS, **change})
    assert [fault["loc"] for fault in check_problem(response, 422)["errors"]] == [loc]


@pytest.mark.parametrize("left_out", ["max_running", "max_queued", "crews"])
async def test_all_limits_must_be_named_for_all_are_replaced(
    shared_client: httpx2.AsyncClient, left_out: str
) -> None:
    limits = {name: value for name, value in LIMITS.items() if name != left_out}
    response = await shared_client.put("/v1/limits", json=limits)
    assert check_problem(response, 422)["errors"][0]["loc"] == ["body", left_out]
