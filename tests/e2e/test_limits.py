"""Limits and fairness between organisations, in the whole mesh."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.postgres import Postgres
from tests.e2e.conftest import Mesh, running_mesh

_NEW_TENANT = """
    WITH org AS (INSERT INTO orgs (name) VALUES ('other') RETURNING id),
    person AS (
        INSERT INTO users (org_id, email, role) SELECT id, 'o@localhost', 'owner' FROM org
        RETURNING id, org_id
    )
    INSERT INTO api_keys (org_id, user_id, name, prefix, secret_hash)
    SELECT org_id, id, 'key', 'cm_other', %s FROM person
"""
# Claims that were made between a run's acceptance and its start.
_CLAIMS_BEFORE = """
    SELECT count(DISTINCT r.started_at) FROM runs r JOIN runs late ON late.id = %s
    WHERE r.org_id <> late.org_id
        AND r.started_at > late.created_at AND r.started_at < late.started_at
"""


async def test_never_more_runs_than_the_limit_are_executed_at_once(mesh: Mesh) -> None:
    async with mesh.limits(max_running=1):
        runs = await asyncio.gather(
            *(mesh.start_run("paced", words=5, pause_ms=5) for _ in range(8))
        )
        spans = [await _executed(mesh, run["id"]) for run in runs]
    for (_, ended), (begun, _) in itertools.pairwise(sorted(spans)):
        assert ended <= begun


async def test_a_crews_limit_holds_for_that_crew_alone(mesh: Mesh) -> None:
    async with mesh.limits(crews={"paced": 1}):
        limited = await asyncio.gather(
            *(mesh.start_run("paced", words=20, pause_ms=10) for _ in range(3))
        )
        body = {"crew": "hello", "inputs": {"topic": "limits"}}
        async with mesh.http.post("/v1/runs?wait=30", json=body) as response:
            assert (await response.json())["status"] == "succeeded"
        spans = [await _executed(mesh, run["id"]) for run in limited]
    for (_, ended), (begun, _) in itertools.pairwise(sorted(spans)):
        assert ended <= begun


async def _executed(mesh: Mesh, run_id: str) -> tuple[str, str]:
    """Watch a run to its end; return when its first task began and its last one ended."""
    events: list[dict[str, Any]] = [event async for event in mesh.watch(run_id)]
    assert events[-1]["type"] == "run.succeeded"
    begun = [event["at"] for event in events if event["type"] == "task.started"]
    ended = [event["at"] for event in events if event["type"] == "task.completed"]
    return begun[0], ended[-1]


@pytest.mark.timeout(300)
async def test_a_thousand_queued_runs_of_one_tenant_do_not_delay_anothers_first(
    tmp_path: Path,
) -> None:
    async with running_mesh(tmp_path, "--slots", "2") as mesh:
        database = Postgres(MeshDirectory(tmp_path)).url
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(_NEW_TENANT, [hashlib.sha256(b"cm_other-tenant").digest()])
            await asyncio.gather(*(_start_many(mesh, 50) for _ in range(20)))
            queued = "SELECT count(*) FROM runs WHERE status = 'queued'"
            assert _one(connection, queued) > 900
            other = {"Authorization": "Bearer cm_other-tenant"}
            run = await mesh.start_run("hello", headers=other, topic="fairness")
            path = f"/v1/runs/{run['id']}?wait=60"
            async with mesh.http.get(path, headers=other) as response:
                assert (await response.json())["status"] == "succeeded"
            # One, which was under way when the run was accepted.
            assert _one(connection, _CLAIMS_BEFORE, run["id"]) <= 1


async def _start_many(mesh: Mesh, count: int) -> None:
    for _ in range(count):
        await mesh.start_run("paced", words=10, pause_ms=50)


def _one(connection: psycopg.Connection[Any], query: Any, *values: Any) -> int:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    number: int = row[0]
    return number
