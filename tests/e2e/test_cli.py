"""The command line against a real mesh."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.conftest import Mesh


@dataclass
class Ran:
    """What a command did."""

    status: int | None
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment_of(mesh: Mesh) -> dict[str, str]:
    return {**os.environ, "CREWMESH_URL": mesh.url, "CREWMESH_API_KEY": mesh.api_key}


async def begin(mesh: Mesh, *arguments: str, **more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crewmesh.cli", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment_of(mesh) | more,
    )  # fmt: skip


async def crewmesh(mesh: Mesh, *arguments: str, **more: str) -> Ran:
    process = await begin(mesh, *arguments, **more)
    out, err = await process.communicate()
    return Ran(process.returncode, out.decode(), err.decode())


async def line_with(process: asyncio.subprocess.Process, text: str) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        if text in line.decode():
            return line.decode()
    raise AssertionError(f"it ended without saying {text!r}")


async def test_a_crew_is_run_on_a_file_and_its_charts_are_saved(mesh: Mesh, tmp_path: Path) -> None:
    sales = tmp_path / "sales.csv"
    rows = [f"{region},{month},{month * factor}" for month in range(1, 13)
            for region, factor in (("north", 2), ("south", 5), ("west", 3))]  # fmt: skip
    sales.write_text("\n".join(["region,month,revenue", *rows]) + "\n")
    ran = await crewmesh(
        mesh, "run", "data-analyst", "-f", f"data=@{sales}",
        "-i", "question=Which region has the highest revenue?", "--save", str(tmp_path / "out"),
    )  # fmt: skip
    assert ran.status == 0, ran.err
    assert "south" in ran.out.lower()
    assert "task 4/4" in ran.err
    assert (tmp_path / "out/answer.md").read_text() == ran.out
    charts = list((tmp_path / "out").glob("*.png"))
    assert charts
    assert charts[0].read_bytes().startswith(b"\x89PNG")


async def test_json_has_every_event_of_a_run_once(mesh: Mesh) -> None:
    ran = await crewmesh(mesh, "run", "hello", "-i", "topic=SSE", "--json")
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (ran.status, events[-1]["type"]) == (0, "run.succeeded")
    watched = await crewmesh(mesh, "runs", "watch", events[0]["run_id"], "--json")
    assert watched.out == ran.out


async def test_a_run_is_followed_across_the_gateways_death(mesh: Mesh) -> None:
    inputs = ["-i", "words=300", "-i", "pause_ms=5"]
    process = await begin(mesh, "run", "paced", *inputs, "--json")
    assert process.stdout is not None
    first = [await process.stdout.readline() for _ in range(10)]
    family = psutil.Process(mesh.process.pid).children()
    gateway = next(child for child in family if "crewmesh_gateway" in child.cmdline())
    gateway.kill()
    rest, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    events = [json.loads(line) for line in [*first, *rest.splitlines()]]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "run.succeeded"


async def test_ctrl_c_cancels_a_run(mesh: Mesh) -> None:
    inputs = ["-i", "words=2000", "-i", "pause_ms=10"]
    process = await begin(mesh, "run", "paced", *inputs)
    queued = await line_with(process, "queued: paced, run ")
    await line_with(process, "task 1/")
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 3, err.decode()
    run = await mesh.get(f"/v1/runs/{queued.split()[-1]}")
    assert run["status"] == "cancelled"


async def test_a_run_out_of_time_exits_with_4(mesh: Mesh) -> None:
    inputs = ["-i", "words=2000", "-i", "pause_ms=10", "--timeout", "1"]
    assert (await crewmesh(mesh, "run", "paced", *inputs)).status == 4


async def test_a_detached_run_is_found_shown_and_cancelled(mesh: Mesh) -> None:
    inputs = ["-i", "words=2000", "-i", "pause_ms=10"]
    run_id = (await crewmesh(mesh, "run", "paced", *inputs, "--detach")).out.strip()
    listed = (await crewmesh(mesh, "runs", "ls", "--crew", "paced", "--json")).json
    assert run_id in [run["id"] for run in listed["items"]]
    me = (await crewmesh(mesh, "whoami", "--json")).json["user"]
    for by in ("me", me["id"], me["email"]):
        mine = (await crewmesh(mesh, "runs", "ls", "--by", by, "--json")).json
        assert run_id in [run["id"] for run in mine["items"]]
    nobody = await crewmesh(mesh, "runs", "ls", "--by", "nobody@example.org")
    assert nobody.status == 2
    assert "crewmesh users ls" in nobody.err
    assert (await crewmesh(mesh, "runs", "cancel", run_id)).status == 0
    assert (await crewmesh(mesh, "runs", "watch", run_id)).status == 3
    shown = (await crewmesh(mesh, "runs", "show", run_id, "--json")).json
    assert (shown["status"], shown["error"]["code"]) == ("cancelled", "cancelled")


async def test_inputs_that_do_not_fit_start_nothing(mesh: Mesh) -> None:
    for arguments in (["-i", "words=many"], ["-i", "wrods=1"], ["-i", "words=-1"]):
        ran = await crewmesh(mesh, "run", "paced", *arguments)
        assert (ran.status, ran.out) == (2, ""), ran.err
        assert "Traceback" not in ran.err


async def test_a_new_key_works_until_it_is_revoked(mesh: Mesh) -> None:
    created = (await crewmesh(mesh, "keys", "create", "for a test", "--json")).json
    key = {"CREWMESH_API_KEY": created["secret"]}
    assert (await crewmesh(mesh, "crews", "ls", **key)).status == 0
    listed = (await crewmesh(mesh, "keys", "ls")).out
    assert "for a test" in listed
    assert created["secret"] not in listed
    assert (await crewmesh(mesh, "keys", "revoke", created["id"])).status == 0
    refused = await crewmesh(mesh, "crews", "ls", **key)
    assert refused.status == 1
    assert "CREWMESH_API_KEY" in refused.err


async def test_a_dataset_is_put_listed_and_removed(mesh: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "things.csv"
    path.write_text("a,b\n1,2\n")
    put = await crewmesh(mesh, "datasets", "put", str(path))
    assert put.out.strip() in (await crewmesh(mesh, "datasets", "ls")).out
    assert (await crewmesh(mesh, "datasets", "rm", put.out.strip())).status == 0
    again = await crewmesh(mesh, "datasets", "rm", put.out.strip())
    assert (again.status, again.out) == (1, "")


async def test_login_and_the_data_directory_lead_to_the_mesh(mesh: Mesh, tmp_path: Path) -> None:
    own = {"XDG_CONFIG_HOME": str(tmp_path), "CREWMESH_URL": "", "CREWMESH_API_KEY": ""}
    by_files = await crewmesh(mesh, "crews", "ls", "--data-dir", str(mesh.directory), **own)
    assert "hello" in by_files.out
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crewmesh.cli", "login", "--url", mesh.url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **own},
    )  # fmt: skip
    out, _ = await process.communicate(mesh.api_key.encode() + b"\n")
    assert (process.returncode, b"owner@localhost (owner" in out) == (0, True)
    assert (await crewmesh(mesh, "crews", "ls", **own)).out == by_files.out


async def typed(mesh: Mesh, text: str, *arguments: str, **more: str) -> Ran:
    """Run a command with something on its stdin."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crewmesh.cli", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment_of(mesh) | more,
    )
    out, err = await process.communicate(text.encode())
    return Ran(process.returncode, out.decode(), err.decode())


async def test_a_person_logs_in_changes_their_password_and_logs_out(
    mesh: Mesh, tmp_path: Path
) -> None:
    email, old, new = "ana@example.org", "a password of ana's", "another password of ana's"
    added = await typed(mesh, old, "users", "add", email, "--password", "--json")
    assert added.status == 0, added.err
    shown = await crewmesh(mesh, "users", "show", email)
    assert added.json["id"] in shown.out
    own = {"XDG_CONFIG_HOME": str(tmp_path), "CREWMESH_URL": "", "CREWMESH_API_KEY": ""}
    login = ("login", "--url", mesh.url, "--email", email)
    assert (await typed(mesh, old, *login, **own)).status == 0
    me = (await crewmesh(mesh, "whoami", "--json", **own)).json
    assert (me["user"]["email"], me["role"]) == (email, "developer")
    wrong = await typed(mesh, f"{new}\n{new}\n", "password", **own)
    assert (wrong.status, "current password" in wrong.err) == (2, True)
    changed = await typed(mesh, f"{old}\n{new}\n", "password", **own)
    assert changed.status == 0, changed.err
    key = json.loads((tmp_path / "crewmesh/profile.json").read_text())["api_key"]
    left = await crewmesh(mesh, "logout", "--json", **own)
    assert left.json == {"url": mesh.url, "revoked": me["key"]["id"]}
    assert (await crewmesh(mesh, "whoami", CREWMESH_API_KEY=key)).status == 1
    assert (await typed(mesh, old, *login, **own)).status == 1
    assert (await typed(mesh, new, *login, **own)).status == 0


async def test_a_run_with_all_options_and_one_of_its_artifacts(mesh: Mesh, tmp_path: Path) -> None:
    session = (await crewmesh(mesh, "chat", "talker", "--title", "On runs")).err
    assert session == ""
    listed = (await crewmesh(mesh, "sessions", "ls", "--json")).json["items"][0]
    assert listed["title"] == "On runs"
    options = ["--session", listed["id"], "--priority", "7", "--max-attempts", "2"]
    start = ["run", "hello", "-i", "topic=keys", *options, "--idempotency-key", "cli-1", "--detach"]
    first, second = [(await crewmesh(mesh, *start, "--json")).json for _ in range(2)]
    assert first["id"] == second["id"]
    assert (first["priority"], first["max_attempts"]) == (7, 2)
    assert first["session_id"] == listed["id"]
    assert (await crewmesh(mesh, "runs", "watch", first["id"])).status == 0
    removed = await crewmesh(mesh, "sessions", "rm", listed["id"], "--json")
    assert removed.json == {"removed": listed["id"]}
    entries = (await crewmesh(mesh, "audit", "ls", "--oldest-first", "--json")).json["items"]
    assert [entry["seq"] for entry in entries[:2]] == [1, 2]


async def test_doctor_finds_a_healthy_mesh_healthy(mesh: Mesh) -> None:
    examined = await crewmesh(mesh, "doctor", "--json", "--data-dir", str(mesh.directory))
    assert examined.status == 0, examined.out
    assert {"gateway", "key", "clock", "version"} <= {found["check"] for found in examined.json}


async def test_the_demo_answers_with_a_chart_and_stops(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crewmesh.cli", "up", "--data-dir", str(tmp_path),
        "--port", "0", "--grpc-port", "0", "--demo", "--exit-after-demo",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = (text.decode() for text in await process.communicate())
    assert process.returncode == 0, err
    assert "November" in out
    paths = [Path(line.strip()) for line in out.splitlines() if line.startswith(f"  {tmp_path}")]
    assert any(path.suffix == ".png" and path.stat().st_size > 1000 for path in paths)
    key = (tmp_path / "api-key").read_text().strip()
    for part in ("http://127.0.0.1:", "/docs", "gRPC", key):
        assert part in out
    assert key not in err
