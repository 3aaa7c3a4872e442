"""The outside contract: names and shapes that users rely on, asked of a running mesh."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import Mesh

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

RUN_FIELDS = {
    "id",
    "crew",
    "crew_version",
    "status",
    "inputs",
    "output",
    "error",
    "attempt",
    "tasks",
    "usage",
    "created_at",
    "started_at",
    "finished_at",
}


@pytest.fixture(scope="module")
async def finished_run(mesh: Mesh) -> dict[str, Any]:
    """A data-analyst run on a small dataset, ended."""
    content = "region,sales\nnorth,3\nsouth,5\nnorth,4\n"

    form = aiohttp.FormData()
    form.add_field("file", content.encode(), filename="sales.csv", content_type="text/csv")
    async with mesh.http.post("/v1/datasets", data=form) as response:
        assert response.status == 201, await response.text()
        dataset = await response.json()
    assert {"id", "name", "media_type", "size_bytes", "sha256", "created_at"} <= set(dataset)
    body = {
        "crew": "data-analyst",
        "inputs": {"data": dataset["id"], "question": "Which region has the highest total sales?"},
    }
    async with mesh.http.post("/v1/runs?wait=60", json=body) as response:
        assert response.status == 200, await response.text()
        run: dict[str, Any] = await response.json()
    assert run["status"] == "succeeded", run["error"]
    return run


async def test_a_run_has_its_fields(finished_run: dict[str, Any]) -> None:
    assert set(finished_run) >= RUN_FIELDS
    assert UUID7.fullmatch(finished_run["id"])
    for field in ("created_at", "started_at", "finished_at"):
        assert TIME.fullmatch(finished_run[field])
    assert "north" in finished_run["output"].lower()
    assert [task["status"] for task in finished_run["tasks"]] == ["completed"] * 4


async def test_starting_answers_202_with_where_the_run_is(mesh: Mesh) -> None:
    body = {"crew": "hello", "inputs": {"topic": "contracts"}}
    async with mesh.http.post("/v1/runs", json=body) as response:
        assert response.status == 202
        run = await response.json()
        assert response.headers["Location"] == f"/v1/runs/{run['id']}"
        assert response.headers["X-Request-ID"]


async def test_server_sent_events_have_id_event_and_data(
    mesh: Mesh, finished_run: dict[str, Any]
) -> None:
    headers = {"Accept": "text/event-stream"}
    path = f"/v1/runs/{finished_run['id']}/events"
    async with mesh.http.get(path, headers=headers) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        frames = (await response.text()).strip().split("\n\n")
    for number, frame in enumerate(frames, start=1):
        fields = dict(line.split(": ", 1) for line in frame.splitlines())
        assert fields["id"] == str(number)
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", fields["event"])
        assert fields["data"].startswith("{")
    async with mesh.http.get(f"{path}?after=3", headers=headers) as response:
        assert "id: 4\n" in (await response.text())[:400]


async def test_lists_are_pages(mesh: Mesh, finished_run: dict[str, Any]) -> None:
    page = await mesh.get("/v1/runs?limit=1")
    assert set(page) == {"items", "next_cursor"}
    assert len(page["items"]) == 1
    following = await mesh.get(f"/v1/runs?limit=1&cursor={page['next_cursor']}")
    assert following["items"][0]["id"] < page["items"][0]["id"]
    for path in ("/v1/crews", "/v1/datasets", f"/v1/runs/{finished_run['id']}/events"):
        assert set(await mesh.get(path)) == {"items", "next_cursor"}


async def test_artifacts_are_downloads_of_the_right_type(
    mesh: Mesh, finished_run: dict[str, Any]
) -> None:
    artifacts = (await mesh.get(f"/v1/runs/{finished_run['id']}/artifacts"))["items"]
    types = {artifact["media_type"] for artifact in artifacts}
    assert {"image/png", "image/svg+xml", "text/markdown"} <= types
    for artifact in artifacts:
        async with mesh.http.get(f"/v1/artifacts/{artifact['id']}") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith(artifact["media_type"])
            assert response.headers["Content-Disposition"].startswith("attachment")
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert len(await response.read()) == artifact["size_bytes"]


async def test_a_crew_tells_its_inputs_agents_and_tasks(mesh: Mesh) -> None:
    crew = await mesh.get("/v1/crews/data-analyst")
    assert set(crew) >= {"name", "description", "version", "inputs", "agents", "tasks"}
    assert crew["inputs"]["properties"]["data"]["format"] == "dataset"


async def test_me_health_metrics_and_documentation(mesh: Mesh) -> None:
    me = await mesh.get("/v1/me")
    assert me["role"] == "owner"
    for path in ("/healthz", "/readyz"):
        await mesh.get(path)
    async with mesh.http.get("/metrics") as response:
        assert "crewmesh" in await response.text()
    openapi = await mesh.get("/openapi.json")
    assert openapi["openapi"].startswith("3.1")
    assert {"/v1/runs", "/v1/runs/{run_id}", "/v1/crews", "/v1/datasets", "/v1/me"} <= set(
        openapi["paths"]
    )
    async with mesh.http.get("/docs") as response:
        page = await response.text()
    assert not re.search(r"""(src|href)=["']https?://""", page)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/runs/01a20760-353b-70cd-bb2d-a4d1a15c0b02", None, 404),
        ("GET", "/v1/runs/not-an-id", None, 404),
        ("GET", "/v1/crews/nobody", None, 404),
        ("GET", "/v1/nothing", None, 404),
        ("DELETE", "/v1/runs", None, 405),
        ("POST", "/v1/runs", {"crew": "nobody", "inputs": {}}, 404),
        ("POST", "/v1/runs", {"crew": "hello", "inputs": {"nonsense": 1}}, 422),
        ("POST", "/v1/runs", {"crew": "data-analyst", "inputs": {"data": "missing"}}, 422),
        ("POST", "/v1/runs", {"crew": "hello", "inputs": {}, "timeout_seconds": -1}, 422),
        ("GET", "/v1/runs?limit=0", None, 422),
    ],
)
async def test_errors_are_problem_details(
    mesh: Mesh, method: str, path: str, body: Any, status: int
) -> None:
    async with mesh.http.request(method, path, json=body) as response:
        assert response.status == status, await response.text()
        assert response.headers["Content-Type"].startswith("application/problem+json")
        problem = await response.json()
    assert set(problem) >= {"type", "title", "status", "detail", "code", "request_id"}
    assert problem["status"] == status
    if status == 422:
        assert problem["errors"]
        assert all(set(error) == {"loc", "msg"} for error in problem["errors"])


async def test_a_key_used_for_another_request_is_a_conflict(mesh: Mesh) -> None:
    headers = {"Idempotency-Key": "contract"}
    await mesh.start_run("hello", headers=headers, topic="one")
    body = {"crew": "hello", "inputs": {"topic": "two"}}
    async with mesh.http.post("/v1/runs", json=body, headers=headers) as response:
        assert response.status == 409
        assert (await response.json())["code"] == "idempotency_key_reused"


async def test_cancelling_again_changes_nothing(mesh: Mesh, finished_run: dict[str, Any]) -> None:
    async with mesh.http.post(f"/v1/runs/{finished_run['id']}/cancel") as response:
        assert response.status in (200, 202)
        assert (await response.json())["status"] == "succeeded"
