"""The secrets that docker-compose.yml names, as `make secrets` makes them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from crewmesh_store.tenants.vault import Vault

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
make_certificates = runpy.run_path(str(ROOT / "deploy" / "compose" / "make_certificates.py"))[
    "make_certificates"
]
make_secrets = runpy.run_path(str(ROOT / "deploy" / "compose" / "make_secrets.py"))["make_secrets"]


def test_every_secret_that_compose_names_is_made(tmp_path: Path) -> None:
    made = make_secrets(tmp_path / "secrets")
    assert set(made) == COMPOSE["secrets"].keys()
    named = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert {path.name for path in (tmp_path / "secrets").iterdir()} == named


def test_a_secret_that_is_there_is_left_alone(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    (tmp_path / "api-key").unlink()
    assert make_secrets(tmp_path) == ["api-key"]
    after = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert after.pop("api-key") != before.pop("api-key")
    assert after == before


def test_others_on_the_machine_are_kept_out(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_databases_url_has_the_databases_password(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    password = (tmp_path / "postgres-password").read_text()
    assert f":{password}@postgres:5432/" in (tmp_path / "database-url").read_text()


def test_the_secrets_key_is_one(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    vault = Vault((tmp_path / "secrets-key").read_text())
    assert vault.seal("org", "NAME", "value").key_id


@pytest.mark.parametrize("name", ["store", "agent-worker", "api-gateway"])
def test_our_containers_may_do_little_and_hold_no_secret(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mesh-secret" in service["secrets"]
    assert not [key for key in service["environment"] if key.endswith(("SECRET", "_URL", "PASSWORD"))
                and "OBJECT_STORE" not in key]  # fmt: skip


@pytest.mark.parametrize("name", ["store", "agent-worker", "api-gateway"])
def test_each_container_has_its_own_certificate_and_speaks_tls_with_it(
    name: str, tmp_path: Path
) -> None:
    service = COMPOSE["services"][name]
    (mount,) = [volume for volume in service["volumes"] if "/tls/" in volume]
    source, target, mode = mount.rsplit(":", 2)
    assert (Path(source).name, mode) == (name, "ro")
    assert service["environment"]["CREWMESH_TLS_DIR"] == target
    assert make_certificates(tmp_path) == ["store", "agent-worker", "api-gateway"]
    assert make_certificates(tmp_path) == []
    # Read by another user, behind a door that is closed to all but the owner.
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / name).iterdir()} == {0o644}
    before = (tmp_path / name / "cert.pem").read_bytes()
    assert name in make_certificates(tmp_path, renew=True)
    assert (tmp_path / name / "cert.pem").read_bytes() != before


def test_only_the_store_is_on_the_databases_network() -> None:
    services = COMPOSE["services"].items()
    assert {name for name, service in services if "data" in service.get("networks", [])} == {
        "postgres",
        "store",
        "s3",
    }
    assert COMPOSE["networks"]["data"] == {"internal": True}
