"""The drill: a mesh is backed up while it works, restored elsewhere, and compared."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import sys
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.postgres import Postgres, running_postgres
from tests.conftest import until
from tests.e2e.conftest import ROOT, Mesh, running_mesh

PAGE = ROOT / "docs/how-to/back-up-and-restore.md"

# Tables whose rows of ended runs never change, by the column with the run's id.
OF_RUNS = {
    "runs": "id",
    "run_events": "run_id",
    "artifacts": "run_id",
    "idempotency_keys": "run_id",
    "model_calls": "run_id",
    "deliveries": "run_id",
}
UNCHANGING = {
    "alembic_version", "audit_heads", "audit_log", "budget_spending", "budgets", "crew_limits", "crew_versions", "crews",
    "datasets", "external_identities", "memories", "orgs", "policies", "reservations", "run_transitions", "secrets",
    "session_messages", "sessions", "shared_crew_versions", "users",
}  # fmt: skip
# What the mesh changes all the time: their rows are counted.
CHANGING = {
    *(
        "api_keys",
        "checkpoints",
        "deleted_artifacts",
        "effects",
        "refresh_tokens",
        "request_counts",
        "sign_in_failures",
    ),
    *("signing_keys", "token_families", "workers"),
}


@dataclass
class Ran:
    status: int | None
    out: str
    err: str


async def crewmesh(*arguments: str, cwd: Path, **environment: str) -> Ran:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crewmesh.cli", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, **environment},
    )  # fmt: skip
    out, err = await process.communicate()
    return Ran(process.returncode, out.decode(), err.decode())


def commands_of_the_page() -> list[list[str]]:
    """Return the how-to's commands without the program's name."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line.split()[1:] for block in blocks for line in block.splitlines()]


def objects_in(root: Path) -> dict[str, str]:
    """Return the SHA-256 of each object by its key."""
    objects = root / "objects"
    return {
        path.relative_to(objects).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in objects.rglob("*")
        if path.is_file()
    }


def rows(url: str, table: str, column: str | None = None, ids: Sequence[str] = ()) -> list[str]:
    """Return rows as Postgres writes them: all, or those of the runs."""
    condition = f"WHERE {column} = ANY(%s::uuid[])" if column else ""
    query = f"SELECT t::text FROM {table} t {condition} ORDER BY 1"
    with psycopg.connect(url) as connection:
        found = connection.execute(query, [list(ids)] if column else []).fetchall()  # type: ignore[arg-type]
    return [row[0] for row in found]


def unchanging_rows(url: str, ended: Sequence[str]) -> dict[str, list[str]]:
    return {
        **{table: rows(url, table, column, ended) for table, column in OF_RUNS.items()},
        **{table: rows(url, table) for table in UNCHANGING},
        "api_keys": rows(url, "(SELECT id, user_id, name, prefix, secret_hash FROM api_keys)"),
    }


@contextlib.asynccontextmanager
async def database_of(root: Path) -> AsyncIterator[str]:
    """Run the database of a mesh that is stopped."""
    directory = MeshDirectory(root)
    with directory.locked():
        async with running_postgres(directory) as postgres:
            yield postgres.url


async def analyse(mesh: Mesh, tmp_path: Path) -> str:
    """Upload a dataset, have a crew make charts of it, and return the run's id."""
    sales = tmp_path / "sales.csv"
    lines = [f"{region},{month},{month * 3}" for month in range(1, 13) for region in "ab"]
    sales.write_text("\n".join(["region,month,revenue", *lines]) + "\n")
    ran = await crewmesh(
        "run", "data-analyst", "-f", f"data=@{sales}",
        "-i", "question=Which region has the highest revenue?", "--json",
        cwd=tmp_path, CREWMESH_URL=mesh.url, CREWMESH_API_KEY=mesh.api_key,
    )  # fmt: skip
    assert ran.status == 0, ran.err
    run_id: str = json.loads(ran.out.splitlines()[0])["run_id"]
    return run_id


async def fill(mesh: Mesh, tmp_path: Path) -> list[str]:
    """Return the ids of runs that have ended."""
    agents = {"a": {"role": "r", "goal": "g", "backstory": "b"}}
    task = {"expected_output": "e", "agent": "a"}
    for saying in ("one", "two"):
        content = {"agents": agents, "tasks": [{**task, "description": saying}]}
        async with mesh.http.put("/v1/crews/mine", json=content) as response:
            assert response.status in (200, 201)
    ended = [await analyse(mesh, tmp_path)]
    for number in range(4):
        headers = {"Idempotency-Key": f"key-{number}"}
        ended.append((await mesh.start_run("hello", headers, topic=f"topic {number}"))["id"])
    for run_id in ended:
        async for _ in mesh.watch(run_id):
            pass
    return ended


async def begin_slow_runs(mesh: Mesh) -> list[str]:
    """Return the ids of runs that are running, with a task finished."""
    runs = [await mesh.start_run("paced", words=600, pause_ms=10) for _ in range(3)]
    for run in runs:
        async with contextlib.aclosing(mesh.watch(run["id"])) as events:
            async for event in events:
                if event["type"] == "task.completed":
                    break
    return [run["id"] for run in runs]


async def status_of(mesh: Mesh, run_id: str) -> str:
    status: str = (await mesh.get(f"/v1/runs/{run_id}"))["status"]
    return status


async def check_restored_mesh(mesh: Mesh, ended: list[str], going_on: list[str]) -> None:
    analysed = await mesh.get(f"/v1/runs/{ended[0]}")
    assert analysed["status"] == "succeeded"
    artifacts = (await mesh.get(f"/v1/runs/{ended[0]}/artifacts"))["items"]
    assert artifacts
    for artifact in artifacts:
        async with mesh.http.get(f"/v1/artifacts/{artifact['id']}") as response:
            content = await response.read()
        assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    for run_id in going_on:

        async def has_succeeded(run_id: str = run_id) -> bool:
            return await status_of(mesh, run_id) == "succeeded"

        await until(has_succeeded, seconds=60)
        events = (await mesh.get(f"/v1/runs/{run_id}/events?limit=1000"))["items"]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        finished = [event["task"] for event in events if event["type"] == "task.completed"]
        assert sorted(finished) == ["first", "second", "third"]


@pytest.mark.timeout(300)
@pytest.mark.long
async def test_a_mesh_that_works_is_backed_up_and_restored_as_the_how_to_says(
    tmp_path: Path,
) -> None:
    first, restored = tmp_path / "first", tmp_path / "restored"
    back_up, restore, up = commands_of_the_page()
    async with running_mesh(first) as mesh:
        ended = await fill(mesh, tmp_path)
        going_on = await begin_slow_runs(mesh)
        made = await crewmesh(*back_up, cwd=tmp_path, CREWMESH_DATA_DIR=str(first))
        assert made.status == 0, made.err
        assert "8 runs, 1 dataset and" in made.out
        url = Postgres(MeshDirectory(first)).url
        before = unchanging_rows(url, ended)
        objects = objects_in(first)
    file = tmp_path / back_up[-1]
    assert file.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(file) as archive:
        manifest: dict[str, Any] = json.loads(archive.read("manifest.json"))
    assert set(manifest["tables"]) == {*OF_RUNS, *UNCHANGING, *CHANGING}

    ran = await crewmesh(*restore, cwd=tmp_path)
    assert ran.status == 0, ran.err
    async with database_of(restored) as url:
        assert unchanging_rows(url, ended) == before
        assert {table: len(rows(url, table)) for table in manifest["tables"]} == manifest["tables"]
        with psycopg.connect(url) as connection:
            running = connection.execute("SELECT id FROM runs WHERE status = 'running'").fetchall()
        assert {str(row[0]) for row in running} == set(going_on)
    assert objects_in(restored) == objects

    assert up == ["up", "--data-dir", "restored"]
    async with running_mesh(restored, CREWMESH_LEASE_SECONDS="2") as mesh:
        assert mesh.api_key == (first / "api-key").read_text().strip()
        assert (mesh.directory / "secrets-key").read_text() == (first / "secrets-key").read_text()
        await check_restored_mesh(mesh, ended, going_on)
    await check_stopped_mesh(restored, tmp_path)


async def check_stopped_mesh(root: Path, tmp_path: Path) -> None:
    """Back up and restore a mesh that doesn't run and has lost a dataset's bytes."""
    lost = next(root.glob("objects/*/datasets/*"))
    lost.unlink()
    made = await crewmesh("backup", "2.zip", "--json", "--data-dir", str(root), cwd=tmp_path)
    assert made.status == 0, made.err
    assert json.loads(made.out)["missing"] == [lost.name]
    ran = await crewmesh("restore", "2.zip", "--data-dir", "third", cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert {path.name for path in (tmp_path / "third").iterdir()} == {
        "api-key", "lock", "objects", "postgres", "secrets-key",
    }  # fmt: skip
    async with database_of(tmp_path / "third") as url:
        assert rows(url, "datasets") == []
        assert len(rows(url, "runs")) == 8
    again = await crewmesh("backup", "2.zip", "--data-dir", str(root), cwd=tmp_path)
    assert again.status == 2
    assert "exists already" in again.err
    refused = await crewmesh("restore", "2.zip", "--data-dir", "third", cwd=tmp_path)
    assert refused.status == 1
    assert "isn't empty" in refused.err


async def test_a_damaged_backup_is_refused_and_leaves_no_mesh(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK not a backup")
    ran = await crewmesh("restore", "no.zip", "--data-dir", "new", cwd=tmp_path)
    assert ran.status == 1
    assert "is no backup, or a damaged one" in ran.err
    assert not (tmp_path / "new").exists()


async def test_where_no_mesh_is_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    ran = await crewmesh("backup", "a.zip", "--data-dir", "nowhere", cwd=tmp_path)
    assert ran.status == 1
    assert "there is no mesh in" in ran.err
    assert list(tmp_path.iterdir()) == []
