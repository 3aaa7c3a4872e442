"""`crewmesh whoami`, `password`, `login` and `logout`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Crewmesh
from tests.unit.cli.fake_mesh import KEY, FakeMesh, problem


@pytest.fixture
def profile(mesh: FakeMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `crewmesh login` keeps what nothing else says."""
    monkeypatch.delenv("CREWMESH_URL")
    monkeypatch.delenv("CREWMESH_API_KEY")
    file = tmp_path / "config/crewmesh/profile.json"
    file.parent.mkdir(parents=True)
    return file


def test_whoami_says_who_where_and_what_may_be_done(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    shown = crewmesh("whoami")
    assert [line.split(None, 1) for line in shown.out.splitlines()] == [
        ["user", "owner@localhost (u1)"],
        ["role", "owner of default"],
        ["mesh", mesh.url],
        ["key", "k1"],
        ["may", "keys.own runs.read"],
    ]
    assert crewmesh("whoami", "--json").json["user"]["email"] == "owner@localhost"


def test_a_password_is_two_lines_of_stdin_and_never_an_option(
    crewmesh: Crewmesh, mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("the old one\nthe new one\n"))
    assert crewmesh("password").status == 0
    passwords = {"current_password": "the old one", "new_password": "the new one"}
    assert mesh.asked("PUT", "/v1/me/password") == [passwords]
    monkeypatch.setattr("sys.stdin", io.StringIO("the old one\n"))
    refused = crewmesh("password")
    assert (refused.status, "on two lines" in refused.err) == (2, True)
    assert len(mesh.asked("PUT", "/v1/me/password")) == 1


def test_logout_revokes_the_key_that_login_made_and_forgets_it(
    crewmesh: Crewmesh, mesh: FakeMesh, profile: Path
) -> None:
    profile.write_text(json.dumps({"url": mesh.url, "api_key": KEY, "key_id": "k1"}))
    left = crewmesh("logout", "--json")
    assert left.json == {"url": mesh.url, "revoked": "k1"}
    assert [path for method, path, _ in mesh.requests if method == "DELETE"] == ["/v1/api-keys/k1"]
    assert not profile.exists()
    again = crewmesh("logout")
    assert (again.status, again.out) == (0, "Nobody is logged in.\n")


@pytest.mark.parametrize(
    ("more", "options"), [({}, []), ({"key_id": "k1"}, ["--keep-key"])], ids=["given", "kept"]
)
def test_logout_lets_a_key_that_was_given_or_is_kept_be_valid(
    crewmesh: Crewmesh, mesh: FakeMesh, profile: Path, more: dict[str, str], options: list[str]
) -> None:
    profile.write_text(json.dumps({"url": mesh.url, "api_key": KEY, **more}))
    left = crewmesh("logout", *options)
    assert left.out == f"Logged out of {mesh.url}; its key stays valid.\n"
    assert (mesh.requests, profile.exists()) == ([], False)


def test_logout_forgets_a_key_that_has_ended_but_not_one_that_may_live_on(
    crewmesh: Crewmesh, mesh: FakeMesh, profile: Path
) -> None:
    kept = json.dumps({"url": mesh.url, "api_key": KEY, "key_id": "k1"})
    profile.write_text(kept)
    mesh.problems["/v1/api-keys/k1"] = [
        problem(403, "permission_denied", "it may not"),
        problem(401, "invalid_credentials", "the key is unknown or revoked"),
    ]
    refused = crewmesh("logout")
    assert refused.status == 1
    assert "crewmesh logout --keep-key" in refused.err
    assert profile.read_text() == kept
    assert crewmesh("logout").status == 0
    assert not profile.exists()
