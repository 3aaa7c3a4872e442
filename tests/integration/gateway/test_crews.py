"""Crews over REST: what goes to the workers, and what comes back."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from crewmesh.common.errors import ConflictError, ForbiddenError, InvalidInputError, Violation
from crewmesh.v1 import agent_pb2
from crewmesh_gateway.schemas import Crew, CrewDiff, CrewVersion, Page, PutCrew, Tool
from tests.integration.gateway.fake_mesh import FakeMesh


async def test_a_definition_goes_to_the_workers_byte_for_byte(
    client: httpx2.AsyncClient, mesh: FakeMesh
) -> None:
    content = b"a:   1  # kept\r\n"
    response = await client.put(
        "/v1/crews/mine",
        content=content,
        headers={"Content-Type": "application/yaml; charset=utf-8"},
    )
    assert response.status_code == 201
    assert response.headers["Location"] == "/v1/crews/mine"
    PutCrew.model_validate(response.json())
    (sent,) = mesh.agents.crew_calls
    assert (sent.name, sent.content, sent.format) == ("mine", content, agent_pb2.CREW_FORMAT_YAML)
    mesh.agents.created = False
    again = await client.put("/v1/crews/mine", json={"agents": {}})
    assert again.status_code == 200
    assert mesh.agents.crew_calls[1].format == agent_pb2.CREW_FORMAT_JSON


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", ""])
async def test_a_definition_is_json_or_yaml(client: httpx2.AsyncClient, media_type: str) -> None:
    response = await client.put(
        "/v1/crews/mine", content=b"a: 1", headers={"Content-Type": media_type}
    )
    assert response.status_code == 415
    assert "application/yaml" in response.json()["detail"]


async def test_a_definition_that_is_too_long_is_refused_before_it_is_read(
    client: httpx2.AsyncClient, mesh: FakeMesh
) -> None:
    headers = {"Content-Type": "application/yaml"}
    fits = await client.put("/v1/crews/mine", content=b" " * 262_144, headers=headers)
    large = await client.put("/v1/crews/mine", content=b" " * 262_145, headers=headers)
    assert (fits.status_code, large.status_code) == (201, 413)
    assert len(mesh.agents.crew_calls) == 1


async def test_every_fault_of_a_definition_is_in_the_problem_with_its_place(
    client: httpx2.AsyncClient, mesh: FakeMesh
) -> None:
    faults = [Violation(f"tasks[{n}].output_file", "x" * 200) for n in range(300)]
    mesh.agents.failures.append(
        InvalidInputError("faulty", reason="INVALID_CREW", violations=faults)
    )
    response = await client.put("/v1/crews/mine", json={})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid_crew")
    assert len(problem["errors"]) == 300
    assert problem["errors"][7] == {"loc": ["body", "tasks", 7, "output_file"], "msg": "x" * 200}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ForbiddenError("your role may not"), 403, "forbidden"),
        (ConflictError("taken", reason="CREW_NOT_YOURS"), 409, "crew_not_yours"),
    ],
)
async def test_what_the_workers_refuse_is_told(
    client: httpx2.AsyncClient, mesh: FakeMesh, error: Exception, status: int, code: str
) -> None:
    for method in ("PUT", "DELETE"):
        mesh.agents.failures.append(error)
        response = await client.request(method, "/v1/crews/mine", json={})
        assert (response.status_code, response.json()["code"]) == (status, code)


async def test_crews_are_read_in_pages_and_by_version(
    client: httpx2.AsyncClient, mesh: FakeMesh
) -> None:
    page = (await client.get("/v1/crews?limit=1&cursor=a")).json()
    Page[Crew].model_validate(page)
    assert page["next_cursor"] == "data-analyst"
    crew = (await client.get("/v1/crews/data-analyst?version=1.0.0%2Babc")).json()
    Crew.model_validate(crew)
    assert (crew["source"], crew["current_version"]) == ("uploaded", "2")
    assert crew["definition"] == {"name": "data-analyst"}
    assert (await client.get("/v1/crews/data-analyst?version=1.0.0+abc")).status_code == 200
    listed, escaped, plain = mesh.agents.crew_calls
    assert (listed.page_size, listed.page_token) == (1, "a")
    assert escaped.version == plain.version == "1.0.0+abc"
    assert (await client.get("/v1/crews/data-analyst?version=../x")).status_code == 422


async def test_versions_diff_rollback_and_delete(
    client: httpx2.AsyncClient, mesh: FakeMesh
) -> None:
    versions = (await client.get("/v1/crews/mine/versions?limit=1")).json()
    Page[CrewVersion].model_validate(versions)
    diff = (await client.get("/v1/crews/mine/diff?from=1&to=2")).json()
    CrewDiff.model_validate(diff)
    assert (diff["from"], diff["to"], diff["diff"]) == ("1", "2", "--- a\n+++ b\n")
    for version in (1, "1"):
        rolled = await client.post("/v1/crews/mine/rollback", json={"version": version})
        Crew.model_validate(rolled.json())
    deleted = await client.delete("/v1/crews/mine")
    assert (deleted.status_code, deleted.content) == (204, b"")
    calls: list[Any] = mesh.agents.crew_calls
    assert (calls[1].from_version, calls[1].to_version) == ("1", "2")
    assert [call.version for call in calls[2:4]] == ["1", "1"]


@pytest.mark.parametrize(
    "body", [{}, {"version": None}, {"version": "a b"}, {"version": 1, "x": 1}]
)
async def test_a_rollback_names_a_version(client: httpx2.AsyncClient, body: Any) -> None:
    response = await client.post("/v1/crews/mine/rollback", json=body)
    assert response.status_code == 422


async def test_tools_are_listed_with_their_schemas(client: httpx2.AsyncClient) -> None:
    page = (await client.get("/v1/tools")).json()
    Page[Tool].model_validate(page)
    assert page["items"][0]["arguments"] == {"type": "object"}
