"""With --json a command prints what the API answers, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Mesh
from tests.e2e.test_sessions import begin, crewmesh, say

pytestmark = pytest.mark.long

Told = Callable[..., Awaitable[Any]]

DEFINITION = """\
name: told
description: Says one thing.
agents:
  - {name: speaker, role: Speaker, goal: Speak, backstory: Speaks.}
tasks:
  - {name: speak, description: "Say WHAT.", expected_output: A line, agent: speaker}
"""


@pytest.fixture
def told(mesh: Mesh) -> Told:
    """Run a command against the mesh; return what it says, as JSON if asked for."""

    async def run(*arguments: str, typed: str = "", status: int = 0) -> Any:
        got, out, err = await crewmesh(mesh, *arguments, lines=typed)
        assert got == status, err
        return json.loads(out) if "--json" in arguments and status == 0 else out + err

    return run


async def test_users(told: Told) -> None:
    added = await told(
        *("users", "add", "told@example.com", "--role", "viewer", "--password", "--json"),
        typed="a long enough passphrase\n",
    )
    assert (added["email"], added["role"]) == ("told@example.com", "viewer")
    assert await told("users", "show", "Told@example.com", "--json") == added
    assert "never signed in" in await told("users", "show", added["id"])
    changed = await told("users", "set", added["id"], "--name", "Told", "--disable", "--json")
    assert changed["name"] == "Told"
    assert changed["disabled_at"]
    assert "disabled" in await told("users", "ls")
    assert changed in (await told("users", "ls", "--json"))["items"]
    assert "nothing to change" in await told("users", "set", added["id"], status=2)
    assert "nobody here" in await told("users", "show", "nobody@example.com", status=2)
    assert await told("users", "rm", "told@example.com", "--json") == {"removed": added["id"]}


async def test_secrets(told: Told) -> None:
    secret = await told("secrets", "set", "TOLD_KEY", "--json", typed="sk-0123456789\n")
    assert secret["name"] == "TOLD_KEY"
    assert await told("secrets", "show", "TOLD_KEY", "--json") == secret
    assert secret in (await told("secrets", "ls", "--json"))["items"]
    assert "no value" in await told("secrets", "set", "TOLD_KEY", status=2)
    assert await told("secrets", "rm", "TOLD_KEY", "--json") == {"removed": "TOLD_KEY"}


async def test_keys(told: Told) -> None:
    made = await told("keys", "create", "told", "--scope", "runs.read", "--days", "2", "--json")
    listed = {key["id"]: key for key in (await told("keys", "ls", "--json"))["items"]}
    assert listed[made["id"]]["scopes"] == ["runs.read"]
    assert await told("keys", "revoke", made["id"], "--json") == {"revoked": made["id"]}
    assert "revoked" in await told("keys", "ls")


async def test_datasets(told: Told, tmp_path: Path) -> None:
    (tmp_path / "told.csv").write_text("a,b\n1,2\n")
    put = await told("datasets", "put", str(tmp_path / "told.csv"), "--json")
    assert await told("datasets", "show", "told", "--json") == put
    assert put in (await told("datasets", "ls", "--json"))["items"]
    copy = tmp_path / "copy.csv"
    got = await told("datasets", "get", "told", str(copy), "--json")
    assert got == put | {"file": str(copy)}
    assert copy.read_text() == "a,b\n1,2\n"
    assert "exists already" in await told("datasets", "get", "told", str(copy), status=2)
    assert await told("datasets", "rm", put["id"], "--json") == {"removed": put["id"]}


async def test_tools(told: Told) -> None:
    listed = (await told("tools", "ls", "--json"))["items"]
    acting = next(tool for tool in listed if tool["side_effects"])
    assert await told("tools", "show", acting["name"], "--json") == acting
    shown = await told("tools", "show", acting["name"])
    assert "the same call is made once" in shown
    assert all(name in shown for name in acting["arguments"]["properties"])
    assert listed[0]["name"] in await told("tools", "show", "nope", status=2)


async def test_crews(told: Told, tmp_path: Path) -> None:
    file = tmp_path / "told.yaml"
    versions = []
    for said in ("one", "two"):
        file.write_text(DEFINITION.replace("WHAT", said))
        versions.append((await told("crews", "push", str(file), "--json"))["version"])
    listed = (await told("crews", "versions", "told", "--json"))["items"]
    assert [(item["version"], item["current"]) for item in listed] == [
        (versions[1], True),
        (versions[0], False),
    ]
    assert "+" in (await told("crews", "diff", "told", "--json"))["diff"]
    back = await told("crews", "rollback", "told", versions[0], "--json")
    assert back["version"] == versions[0]
    assert "Say one." in await told("crews", "show", "told", "--yaml")
    assert (await told("crews", "show", "told", "--json"))["version"] == versions[0]
    assert "told" in [crew["name"] for crew in (await told("crews", "ls", "--json"))["items"]]
    assert await told("crews", "rm", "told", "--json") == {"removed": "told"}


async def test_sessions(told: Told, mesh: Mesh) -> None:
    session = await begin(mesh)
    await say(mesh, session, "hello", wait=30)
    shown = await told("sessions", "show", session, "--json")
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
    listed = await told("sessions", "ls", "--crew", "talker", "--json")
    assert session in [item["id"] for item in listed["items"]]
    assert await told("sessions", "forget", session, "--json") == {"deleted": 0}
    assert await told("sessions", "rm", session, "--json") == {"removed": session}
    assert "crewmesh sessions ls" in await told("sessions", "show", "nope", status=2)


async def test_the_organisation(told: Told) -> None:
    audit = await told("audit", "ls", "--json")
    assert audit["items"]
    assert "WHO" in await told("audit", "ls", "--limit", "1")
    assert (await told("audit", "verify", "--json"))["faults"] == []
    assert (await told("whoami", "--json"))["role"] == "owner"
    assert (await told("workers", "--json"))["items"]
    assert (await told("version", "--json"))["crewmesh"]
