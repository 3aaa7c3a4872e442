from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path

import pytest

from crewmesh.common.audit_chain import NOTHING, hash_after
from tests.unit.cli.conftest import Crewmesh
from tests.unit.cli.fake_mesh import KEY, RUN_ID, FakeMesh, a_whole_run


def write_local_mesh(data_dir: Path, url: str, pid: int) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    address = {"url": url, "grpc": "127.0.0.1:1", "pid": pid}
    (data_dir / "address.json").write_text(json.dumps(address))
    (data_dir / "api-key").write_text(KEY + "\n")


def test_runs_are_listed_for_people_and_programs(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    listed = crewmesh("runs", "ls", "--limit", "1")
    assert listed.status == 0
    heading, row, *_ = listed.out.splitlines()
    assert heading.split() == ["RUN", "CREW", "STATUS", "CREATED", "TOOK", "TOKENS"]
    assert row.startswith(f"{RUN_ID}  data-analyst  succeeded")
    assert "crewmesh runs ls --cursor next" in listed.out
    page = crewmesh("runs", "ls", "--limit", "1", "--json").json
    assert (page["items"][0]["id"], page["next_cursor"]) == (RUN_ID, "next")


def test_a_run_is_shown_with_its_tasks_artifacts_and_answer(
    crewmesh: Crewmesh, mesh: FakeMesh
) -> None:
    shown = crewmesh("runs", "show", RUN_ID)
    for part in ("data-analyst 1.0.0", "succeeded", "profile", "/v1/artifacts/a1", "# One"):
        assert part in shown.out
    run = crewmesh("runs", "show", RUN_ID, "--json").json
    assert (run["id"], run["artifacts"][0]["id"]) == (RUN_ID, "a1")


def test_watching_tells_a_run_from_its_beginning(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    watched = crewmesh("runs", "watch", RUN_ID, "--json")
    assert [json.loads(line) for line in watched.out.splitlines()] == a_whole_run()


def test_cancelling_says_what_became_of_it(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    assert "has ended: succeeded" in crewmesh("runs", "cancel", RUN_ID).out
    mesh.run.events.pop()
    cancelled = crewmesh("runs", "cancel", RUN_ID, "--reason", "enough")
    assert "is being cancelled" in cancelled.out
    assert mesh.asked("POST", f"/v1/runs/{RUN_ID}/cancel")[-1] == {"reason": "enough"}


def test_something_that_is_no_id_is_not_even_asked_for(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    shown = crewmesh("runs", "show", "../crews")
    assert shown.status == 2
    assert "crewmesh runs ls" in shown.err
    assert mesh.requests == []


def test_an_unknown_run_is_an_error(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    shown = crewmesh("runs", "show", RUN_ID.replace("0", "1"))
    assert (shown.status, shown.out) == (1, "")
    assert "no such run" in shown.err


def test_crews_are_listed_and_shown(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    assert "data-analyst  1.0.0" in crewmesh("crews", "ls").out
    assert crewmesh("crews", "ls", "--json").json["items"][0]["name"] == "data-analyst"
    shown = crewmesh("crews", "show", "data-analyst").out
    assert "default 2" in shown
    assert "crewmesh run data-analyst -f dataset=@data.csv -i question='...'" in shown
    assert crewmesh("crews", "show", "data-analyst", "--json").json["version"] == "1.0.0"
    assert crewmesh("crews", "show", "other").status == 2


def test_datasets_are_put_listed_and_removed(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    assert "No datasets yet" in crewmesh("datasets", "ls").out
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n')
    put = crewmesh("datasets", "put", str(path), "--name", "mine")
    assert put.out == mesh.datasets[0]["id"] + "\n"
    assert mesh.datasets[0]["name"] == "mine"
    assert mesh.datasets[0]["media_type"] == "application/x-ndjson"
    assert "mine" in crewmesh("datasets", "ls").out
    assert crewmesh("datasets", "put", str(path), "--json").json["name"] == "a"
    assert crewmesh("datasets", "rm", put.out.strip()).status == 0
    assert crewmesh("datasets", "put", str(tmp_path / "none.csv")).status == 2


def test_keys_are_created_listed_and_revoked(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    created = crewmesh("keys", "create", "ci")
    assert (created.out, created.status) == ("cm_new\n", 0)
    assert mesh.asked("POST", "/v1/api-keys") == [{"name": "ci", "scopes": []}]
    assert "never used" in crewmesh("keys", "ls").out
    assert crewmesh("keys", "revoke", "k1", "--json").json == {"revoked": "k1"}
    assert len(mesh.asked("DELETE", "/v1/api-keys/k1")) == 1


def write_audit(mesh: FakeMesh, count: int) -> None:
    """Fill the log as the database does."""
    before = NOTHING
    for seq in range(1, count + 1):
        told = {
            "seq": seq,
            "at": "2026-11-25T00:00:00.000000Z",
            "actor": {"email": "ana@example.org"},
            "action": "user.changed",
            "target": "u1",
            "changes": {"role": ["viewer", "owner"]},
        }
        text = json.dumps(told)
        before = hash_after(before, text)
        mesh.audit.append({**told, "entry": text, "hash": before.hex()})
    mesh.audit_head = {"seq": count, "hash": before.hex()}


def test_the_audit_log_is_listed_and_found_whole_or_not(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    assert crewmesh("audit", "verify", "--json").json["entries"] == 0
    write_audit(mesh, 5)
    listed = crewmesh("audit", "ls").out
    assert "ana@example.org" in listed
    assert "role: viewer → owner" in listed
    noted = f"5:{mesh.audit[-1]['hash']}"
    whole = crewmesh("audit", "verify")
    assert (whole.status, noted in whole.out) == (0, True)
    assert crewmesh("audit", "verify", "--noted", noted).status == 0
    assert crewmesh("audit", "verify", "--noted", "5:" + "0" * 64).status == 1
    assert crewmesh("audit", "verify", "--noted", "five").status == 2
    removed = mesh.audit.pop(2)
    broken = crewmesh("audit", "verify")
    assert (broken.status, broken.out) == (1, "entry 3: missing, up to 3\n")
    mesh.audit.insert(2, {**removed, "entry": removed["entry"].replace("u1", "u2")})
    assert crewmesh("audit", "verify", "--json").json["faults"] == [
        {"seq": 3, "what": "its hash doesn't fit it and those before it"}
    ]


def test_limits_are_shown_and_set_one_by_one(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    shown = [line.split() for line in crewmesh("limits", "show").out.splitlines()]
    assert shown == [
        ["WHAT", "OF", "AT", "MOST"],
        ["runs", "running", "in", "all", "none"],
        ["runs", "queued", "in", "all", "10,000"],
        ["requests", "a", "minute", "each", "key", "or", "person", "none"],
    ]
    put = crewmesh("limits", "set", "--max-running", "4", "--crew", "hello=1", "--crew", "b=2")
    assert ["runs", "running", "hello", "1"] in [line.split() for line in put.out.splitlines()]
    limits = {"max_running": 4, "max_queued": 10_000, "crews": {"hello": 1, "b": 2}}
    assert mesh.limits == {**limits, "max_requests_per_minute": None}
    changed = ["--max-running", "none", "--max-queued", "9", "--crew", "hello=none", "--json"]
    changed += ["--max-requests-per-minute", "600"]
    assert crewmesh("limits", "set", *changed).json == mesh.limits
    limits = {"max_running": None, "max_queued": 9, "crews": {"b": 2}}
    assert mesh.limits == {**limits, "max_requests_per_minute": 600}
    assert crewmesh("limits", "show", "--json").json == mesh.limits


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--max-running", "0"),
        ("--max-running", "many"),
        ("--max-queued", "0"),
        ("--crew", "hello"),
        ("--crew", "=1"),
        ("--crew", "hello=-1"),
    ],
)
def test_limits_that_make_no_sense_are_not_even_asked_for(
    crewmesh: Crewmesh, mesh: FakeMesh, options: tuple[str, ...]
) -> None:
    refused = crewmesh("limits", "set", *options)
    assert refused.status == 2
    # Of an option that takes numbers only, its own parser tells.
    assert ("next: " in refused.err) is ("--max-queued" not in options)
    assert mesh.requests == []


def test_login_keeps_a_key_that_works_for_the_owner_only(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREWMESH_URL")
    monkeypatch.delenv("CREWMESH_API_KEY")
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY + "\n"))
    logged_in = crewmesh("login", "--url", mesh.url + "/")
    assert logged_in.status == 0
    assert "owner@localhost (owner of default)" in logged_in.out
    assert KEY not in logged_in.out + logged_in.err
    profile = tmp_path / "config/crewmesh/profile.json"
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    assert json.loads(profile.read_text()) == {"url": mesh.url, "api_key": KEY}
    assert crewmesh("runs", "ls").status == 0


def test_login_keeps_nothing_that_does_not_work(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("cm_wrong\n"))
    refused = crewmesh("login", "--url", mesh.url)
    assert refused.status == 1
    assert "unknown or revoked" in refused.err
    assert not (tmp_path / "config").exists()
    assert crewmesh("login", "--url", "no address").status == 2
    assert crewmesh("login").status == 2


def test_a_local_mesh_is_found_by_its_files(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREWMESH_URL")
    monkeypatch.delenv("CREWMESH_API_KEY")
    write_local_mesh(tmp_path / "data", mesh.url, os.getpid())
    assert crewmesh("runs", "ls").status == 0
    write_local_mesh(tmp_path / "other", mesh.url, os.getpid())
    monkeypatch.setenv("CREWMESH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CREWMESH_API_KEY", "x")
    assert crewmesh("runs", "ls", "--data-dir", str(tmp_path / "other")).status == 0


def test_a_key_is_never_sent_to_an_address_that_it_is_not_for(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREWMESH_API_KEY")
    write_local_mesh(tmp_path / "data", "http://127.0.0.1:1", os.getpid())
    refused = crewmesh("runs", "ls")
    assert refused.status == 1
    assert f"there is no API key for {mesh.url}" in refused.err
    assert mesh.requests == []
    write_local_mesh(tmp_path / "data", mesh.url, os.getpid())
    assert crewmesh("runs", "ls").status == 0


def test_without_any_mesh_the_first_step_is_told(crewmesh: Crewmesh) -> None:
    refused = crewmesh("runs", "ls")
    assert (refused.status, refused.out) == (1, "")
    assert "crewmesh up" in refused.err


def test_a_mesh_that_is_gone_is_told_from_its_leftovers(crewmesh: Crewmesh, tmp_path: Path) -> None:
    write_local_mesh(tmp_path / "data", "http://127.0.0.1:9", 2**22 + 1)
    refused = crewmesh("runs", "ls")
    assert refused.status == 1
    assert "is not running" in refused.err


def test_a_mesh_that_does_not_answer_is_told(
    crewmesh: Crewmesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWMESH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CREWMESH_API_KEY", "x")
    refused = crewmesh("runs", "ls")
    assert refused.status == 1
    assert "no mesh answers at http://127.0.0.1:9" in refused.err
    assert "crewmesh doctor" in refused.err


def test_a_wrong_key_is_told(
    crewmesh: Crewmesh, mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWMESH_API_KEY", "cm_wrong")
    refused = crewmesh("runs", "ls")
    assert refused.status == 1
    assert "next: check CREWMESH_API_KEY" in refused.err


def test_version_says_which(crewmesh: Crewmesh) -> None:
    assert crewmesh("version").out.startswith("crewmesh ")
    assert set(crewmesh("version", "--json").json) == {"crewmesh", "python"}


def test_an_unknown_command_exits_with_2(crewmesh: Crewmesh) -> None:
    assert crewmesh("rnu").status == 2
