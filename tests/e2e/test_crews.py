"""Crews that people bring, against a real mesh of one worker with one slot."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from uuid6 import uuid7

from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.postgres import Postgres
from crewmesh_store.identity.credentials import hash_of, new_key
from tests.e2e.conftest import ROOT, Mesh, running_mesh
from tests.e2e.test_cli import Ran, crewmesh, environment_of


@pytest.fixture(scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    async with running_mesh(tmp_path_factory.mktemp("crews"), "--slots", "1") as running:
        yield running


def definition(name: str, saying: str, **task: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Says something.",
        "crew": {
            "agents": {"speaker": {"role": "Speaker", "goal": "Speak", "backstory": "-"}},
            "tasks": [
                {
                    "name": "say",
                    "agent": "speaker",
                    "description": saying,
                    "expected_output": "A sentence.",
                    **task,
                }
            ],
        },
    }


async def push(mesh: Mesh, directory: Path, content: Any) -> Ran:
    path = directory / f"{content['name']}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return await crewmesh(mesh, "crews", "push", str(path))


async def finished(mesh: Mesh, run_id: str) -> Any:
    return await mesh.get(f"/v1/runs/{run_id}?wait=60")


async def test_a_queued_run_keeps_its_version_whatever_becomes_of_the_crew(
    mesh: Mesh, tmp_path: Path
) -> None:
    pushed = await push(mesh, tmp_path, definition("talk", "Say the first thing."))
    assert (pushed.status, pushed.out.splitlines()[0]) == (0, "talk is version 1 now.")
    ran = await crewmesh(mesh, "run", "talk")
    assert "Say the first thing." in ran.out

    blocking = await mesh.start_run("paced", words=100_000, pause_ms=5)
    queued = await mesh.start_run("talk")
    assert (queued["status"], queued["crew_version"]) == ("queued", "1")
    assert (
        "version 2 now"
        in (await push(mesh, tmp_path, definition("talk", "Say the second thing."))).out
    )
    assert (await crewmesh(mesh, "crews", "rm", "talk")).status == 0
    async with mesh.http.post(f"/v1/runs/{blocking['id']}/cancel"):
        pass
    run = await finished(mesh, queued["id"])
    assert (run["status"], run["crew_version"]) == ("succeeded", "1")
    assert "Say the first thing." in run["output"]

    assert (await crewmesh(mesh, "run", "talk")).status == 2
    again = await push(mesh, tmp_path, definition("talk", "Say the third thing."))
    assert "version 3 now" in again.out


async def test_a_run_whose_version_is_nowhere_fails_and_says_so(mesh: Mesh, tmp_path: Path) -> None:
    await push(mesh, tmp_path, definition("lost", "Say."))
    blocking = await mesh.start_run("paced", words=100_000, pause_ms=5)
    body = {"crew": "lost", "inputs": {}, "max_attempts": 1}
    async with mesh.http.post("/v1/runs", json=body) as response:
        queued = await response.json()
    with psycopg.connect(Postgres(MeshDirectory(mesh.directory)).url) as connection:
        connection.execute("UPDATE runs SET crew_version = '99' WHERE id = %s", [queued["id"]])
    async with mesh.http.post(f"/v1/runs/{blocking['id']}/cancel"):
        pass
    run = await finished(mesh, queued["id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "attempts_exhausted")
    assert "version 99 of the crew 'lost' isn't in the store" in run["error"]["message"]


async def test_versions_are_compared_and_gone_back_to(mesh: Mesh, tmp_path: Path) -> None:
    await push(mesh, tmp_path, definition("steps", "Say one."))
    assert "version 1 already" in (await push(mesh, tmp_path, definition("steps", "Say one."))).out
    await push(mesh, tmp_path, definition("steps", "Say two."))
    diff = await crewmesh(mesh, "crews", "diff", "steps")
    assert diff.out.splitlines()[:2] == ["--- steps 1", "+++ steps 2"]
    changed = [line for line in diff.out.splitlines()[3:] if line[0] in "+-"]
    assert changed == ["-      description: Say one.", "+      description: Say two."]
    assert "are the same" in (await crewmesh(mesh, "crews", "diff", "steps", "2")).out

    assert (await crewmesh(mesh, "crews", "rollback", "steps", "1")).status == 0
    run = await mesh.start_run("steps")
    assert run["crew_version"] == "1"
    assert "Say one." in (await finished(mesh, run["id"]))["output"]
    versions = (await crewmesh(mesh, "crews", "versions", "steps", "--json")).json
    assert [(v["version"], v["current"]) for v in versions["items"]] == [("2", False), ("1", True)]

    shown = await crewmesh(mesh, "crews", "show", "steps", "--version", "2", "--yaml")
    (tmp_path / "again.yaml").write_text(shown.out, encoding="utf-8")
    again = await crewmesh(mesh, "crews", "push", str(tmp_path / "again.yaml"))
    assert "version 3 now" in again.out
    assert "are the same" in (await crewmesh(mesh, "crews", "diff", "steps", "2", "3")).out


async def test_a_structured_output_is_the_runs(mesh: Mesh, tmp_path: Path) -> None:
    schema = {
        "$defs": {"Mood": {"type": "string", "enum": ["calm", "angry"]}},
        "type": "object",
        "properties": {"mood": {"$ref": "#/$defs/Mood"}, "text": {"type": "string"}},
        "required": ["mood", "text"],
    }
    await push(mesh, tmp_path, definition("feel", "They are angry.", output_json=schema))
    run = await finished(mesh, (await mesh.start_run("feel"))["id"])
    assert run["status"] == "succeeded", run["error"]
    assert run["output_json"]["mood"] == "angry"
    assert "offline model" in run["output_json"]["text"]


async def test_plans_guardrails_and_a_manager_work_offline(mesh: Mesh, tmp_path: Path) -> None:
    crew = definition("managed", "Say hello.", guardrail="It must be polite.", markdown=True)
    body = crew["crew"]
    body["agents"]["chief"] = {"role": "Chief", "goal": "Manage", "backstory": "-"}
    body["agents"]["speaker"]["planning"] = True
    body |= {"process": "hierarchical", "manager_agent": "chief", "planning": True, "max_rpm": 1000}
    assert (await push(mesh, tmp_path, crew)).status == 0
    run = await finished(mesh, (await mesh.start_run("managed"))["id"])
    assert run["status"] == "succeeded", run["error"]
    assert "Say hello." in run["output"]


async def test_a_crew_that_comes_with_the_mesh_has_a_version_of_its_content(mesh: Mesh) -> None:
    hello, paced = await mesh.get("/v1/crews/hello"), await mesh.get("/v1/crews/paced")
    assert (hello["source"], paced["source"]) == ("built_in", "mounted")
    assert re.fullmatch(r"1\.0\.0\+[0-9a-f]{12}", hello["version"])
    assert hello["created_at"]
    assert hello["definition"]["crew"]["tasks"][0]["name"] == "introduce"
    same = await mesh.get(f"/v1/crews/hello?version={hello['version']}")  # + not escaped
    assert same == hello
    versions = await mesh.get("/v1/crews/hello/versions")
    assert [(v["version"], v["current"]) for v in versions["items"]] == [(hello["version"], True)]
    run = await finished(mesh, (await mesh.start_run("hello"))["id"])
    assert run["crew_version"] == hello["version"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/crews/hello"),
        ("PUT", "/v1/crews/paced"),
        ("DELETE", "/v1/crews/hello"),
        ("POST", "/v1/crews/hello/rollback"),
    ],
)
async def test_what_comes_with_the_mesh_is_not_changed(mesh: Mesh, method: str, path: str) -> None:
    body = {"version": 1} if method == "POST" else definition("hello", "Say.")
    async with mesh.http.request(method, path, json=body) as response:
        assert response.status == 409
        assert (await response.json())["code"] == "crew_not_yours"


async def test_crews_are_listed_in_pages_whatever_their_source(mesh: Mesh, tmp_path: Path) -> None:
    await push(mesh, tmp_path, definition("zebra", "Say."))
    whole = [crew["name"] for crew in (await mesh.get("/v1/crews?limit=200"))["items"]]
    assert whole == sorted(whole)
    assert {"hello", "data-analyst", "paced", "zebra"} <= set(whole)
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = await mesh.get(
            f"/v1/crews?limit=2&cursor={cursor}" if cursor else "/v1/crews?limit=2"
        )
        found += [crew["name"] for crew in page["items"]]
        assert all(crew["definition"] is None for crew in page["items"])
        cursor = page["next_cursor"]
    assert found == whole


def key_of(mesh: Mesh, role: str, org_id: str | None = None) -> str:
    """Make somebody with this role, of this or of a new organisation, and return their key."""
    key = new_key()
    url = Postgres(MeshDirectory(mesh.directory)).url
    with psycopg.connect(url, autocommit=True) as connection:
        if org_id is None:
            org_id = str(UUID(bytes=uuid7().bytes))
            connection.execute("INSERT INTO orgs (id, name) VALUES (%s, 'other')", [org_id])
        user_id = str(UUID(bytes=uuid7().bytes))
        connection.execute(
            "INSERT INTO users (id, org_id, email, role) VALUES (%s, %s, %s, %s)",
            [user_id, org_id, f"{user_id}@example.org", role],
        )
        connection.execute(
            "INSERT INTO api_keys (org_id, user_id, name, prefix, secret_hash)"
            " VALUES (%s, %s, 'k', 'cm_', %s)",
            [org_id, user_id, hash_of(key)],
        )
    return key


async def test_another_organisations_crew_is_not_there(mesh: Mesh, tmp_path: Path) -> None:
    await push(mesh, tmp_path, definition("secret", "Say it."))
    headers = {"Authorization": f"Bearer {key_of(mesh, 'owner')}"}
    for method, path, body in [
        ("GET", "/v1/crews/secret", None),
        ("GET", "/v1/crews/secret?version=1", None),
        ("GET", "/v1/crews/secret/versions", None),
        ("GET", "/v1/crews/secret/diff?from=1&to=1", None),
        ("POST", "/v1/crews/secret/rollback", {"version": 1}),
        ("DELETE", "/v1/crews/secret", None),
        ("POST", "/v1/runs", {"crew": "secret", "inputs": {}}),
    ]:
        async with mesh.http.request(method, path, json=body, headers=headers) as response:
            assert response.status == 404, (method, path, await response.text())
    async with mesh.http.get("/v1/crews?limit=200", headers=headers) as response:
        assert "secret" not in [crew["name"] for crew in (await response.json())["items"]]
    theirs = definition("secret", "Say theirs.")
    async with mesh.http.put("/v1/crews/secret", json=theirs, headers=headers) as response:
        assert response.status == 201
        assert (await response.json())["version"] == "1"
    assert "Say it." in json.dumps((await mesh.get("/v1/crews/secret"))["definition"])


@pytest.mark.parametrize(
    ("role", "status"), [("viewer", 403), ("operator", 403), ("developer", 201)]
)
async def test_who_may_bring_a_crew(mesh: Mesh, role: str, status: int) -> None:
    org_id = (await mesh.get("/v1/me"))["org"]["id"]
    headers = {"Authorization": f"Bearer {key_of(mesh, role, org_id)}"}
    body = definition(f"by-{role}", "Say.")
    async with mesh.http.put(f"/v1/crews/by-{role}", json=body, headers=headers) as response:
        assert response.status == status, await response.text()
    async with mesh.http.get("/v1/crews/hello", headers=headers) as response:
        assert response.status == 200


async def test_faults_are_told_with_their_files_and_lines(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text(
        "writer:\n  role: Writer\n  goal: Write\n  backstory: x\n  allow_code_execution: true\n"
        "  tools: [query_sql, rm_rf]\n",
        encoding="utf-8",
    )
    (tmp_path / "tasks.yaml").write_text(
        "# first\nwrite:\n  description: Write.\n  expected_output: x\n  agent: writer\n"
        "  output_file: /etc/passwd\n",
        encoding="utf-8",
    )
    pushed = await crewmesh(mesh, "crews", "push", str(tmp_path), "--name", "faulty")
    assert (pushed.status, pushed.out) == (2, "")
    places = re.findall(r"- (\S+yaml:\d+: \S+):", pushed.err)
    assert places == [
        "agents.yaml:5: writer.allow_code_execution",
        "agents.yaml:6: writer.tools[1]",
        "tasks.yaml:6: write.output_file",
    ]


async def test_tools_are_listed_with_what_they_take(mesh: Mesh) -> None:
    tools = {tool["name"]: tool for tool in (await mesh.get("/v1/tools"))["items"]}
    assert {"query_sql", "draw_chart", "write_report", "profile_dataset"} <= tools.keys()
    assert tools["query_sql"]["arguments"]["properties"]["sql"]["type"] == "string"
    shown = await crewmesh(mesh, "tools", "show", "query_sql")
    assert "sql" in shown.out
    assert "query_sql" in (await crewmesh(mesh, "tools", "ls")).out
    assert (await crewmesh(mesh, "tools", "show", "nothing")).status == 2


async def test_the_how_to_works_as_it_is_printed(mesh: Mesh, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/bring-a-crew.md").read_text(encoding="utf-8")
    for name, content in re.findall(r"```yaml file=(\S+)\n(.*?)```", page, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    assert commands.count("crewmesh ") >= 9
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", commands,
        cwd=tmp_path,
        env=environment_of(mesh) | {"PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await shell.communicate()
    said = output.decode()
    assert shell.returncode == 0, said
    for text in (
        "briefing is version 1 now.",
        "Research heat pumps thoroughly.",
        "briefing is version 2 now.",
        "+      goal: Say it in three words",
        '"version":"2"',
    ):
        assert text in said, said


async def test_the_how_to_shows_errors_as_they_are(mesh: Mesh, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/bring-a-crew.md").read_text(encoding="utf-8")
    shown = re.search(r"```text\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    files = dict(re.findall(r"```yaml file=(\S+)\n(.*?)```", page, re.DOTALL))
    for name, addition in (
        ("agents", "  allow_code_execution: true\n"),
        ("tasks", "  output_file: a.md\n"),
    ):
        content = files[f"research/{name}.yaml"] + addition
        (tmp_path / f"{name}.yaml").write_text(content, encoding="utf-8")
    pushed = await crewmesh(mesh, "crews", "push", str(tmp_path), "--name", "research")
    assert pushed.err == shown[1]
