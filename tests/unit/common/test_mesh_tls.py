"""What a service says at its start when the mesh wouldn't be protected."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewmesh.cli.authority import issue, open_authority
from crewmesh.common.mesh_tls import TlsDirectory, is_loopback
from crewmesh.common.settings import MeshSettings
from crewmesh_gateway.settings import GatewaySettings
from crewmesh_store.settings import StoreSettings
from crewmesh_worker.settings import WorkerSettings
from tests.conftest import MESH_SECRET

REQUIRED = {
    "DATABASE_URL": "postgresql:///x",
    "OBJECT_STORE_URL": "file:///x",
    "STORE_TARGET": "ipv4:127.0.0.1:8082",
    "WORKER_TARGET": "ipv4:127.0.0.1:8081",
    "MESH_SECRET": MESH_SECRET,
}


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8082", "127.8.9.1:1", "localhost:8082", "[::1]:8082", "unix:/run/store",
        "dns:///localhost:8082", "ipv4:127.0.0.1:1,127.0.0.1:2", "ipv6:[::1]:1", "unix-abstract:x",
    ],
)  # fmt: skip
def test_addresses_of_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:8082", "[::]:8082", ":8082", "10.0.0.1:8082", "dns:///store:8082", "store:8082",
        "ipv4:127.0.0.1:1,10.0.0.1:2", "dns://127.0.0.1/store:8082", "localhost.example:1", "",
        "xds:///store", "127.0.0.1.example:1",
    ],
)  # fmt: skip
def test_addresses_that_others_have_a_part_in(address: str) -> None:
    assert not is_loopback(address)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(f"CREWMESH_{name}", value)
    return monkeypatch


@pytest.mark.parametrize(
    ("settings", "name", "address"),
    [
        (StoreSettings, "CREWMESH_STORE_ADDRESS", "0.0.0.0:8082"),
        (WorkerSettings, "CREWMESH_WORKER_ADDRESS", "[::]:8081"),
        (WorkerSettings, "CREWMESH_STORE_TARGET", "dns:///store:8082"),
        (GatewaySettings, "CREWMESH_STORE_TARGET", "dns:///store:8082"),
        (GatewaySettings, "CREWMESH_WORKER_TARGET", "ipv4:10.0.0.1:8081"),
    ],
)
def test_plain_text_off_this_machine_is_refused_unless_it_is_asked_for(
    settings: type[MeshSettings],
    name: str,
    address: str,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    settings.load()
    environment.setenv(name, address)
    with pytest.raises(SystemExit) as ended:
        settings.load()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"crewmesh: {name}={address} is not on this machine alone")
    assert "crewmesh certs DIR" in line
    assert "CREWMESH_INSECURE_PLAINTEXT=true" in line

    environment.setenv("CREWMESH_INSECURE_PLAINTEXT", "true")
    assert settings.load().tls() is None
    environment.setenv("CREWMESH_INSECURE_PLAINTEXT", "false")
    issue(open_authority(tmp_path), tmp_path, "store", [], 1)
    environment.setenv("CREWMESH_TLS_DIR", str(tmp_path / "store"))
    assert settings.load().tls() is not None


def test_a_second_address_without_certificates_is_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("CREWMESH_WORKER_PUBLIC_ADDRESS", "127.0.0.1:0")
    with pytest.raises(SystemExit):
        WorkerSettings.load()
    assert "CREWMESH_WORKER_PUBLIC_ADDRESS needs CREWMESH_TLS_DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("key.pem", None, "key.pem: No such file or directory; `crewmesh certs` makes it"),
        ("cert.pem", b"nonsense", "must be PEM"),
        ("key.pem", b"nonsense", "must be PEM"),
        ("ca.pem", b"", "must be PEM"),
    ],
)
def test_a_directory_that_cannot_be_used_stops_the_start(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    file: str,
    content: bytes | None,
    told: str,
) -> None:
    issue(open_authority(tmp_path), tmp_path, "store", [], 1)
    (tmp_path / "store" / file).unlink()
    if content is not None:
        (tmp_path / "store" / file).write_bytes(content)
    environment.setenv("CREWMESH_TLS_DIR", str(tmp_path / "store"))
    with pytest.raises(SystemExit):
        StoreSettings.load()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("crewmesh: setting CREWMESH_TLS_DIR: ")
    assert told in line


def test_files_that_are_half_replaced_are_left_alone_until_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmesh.common.mesh_tls._LOOK_SECONDS", 0.0)
    authority = open_authority(tmp_path)
    issue(authority, tmp_path, "store", [], 1)
    directory = TlsDirectory(tmp_path / "store")
    before = directory.current()
    old = (tmp_path / "store" / "cert.pem").read_bytes()
    issue(authority, tmp_path, "store", [], 2)
    new = (tmp_path / "store" / "cert.pem").read_bytes()
    (tmp_path / "store" / "cert.pem").write_bytes(old)
    assert directory.current() is before
    (tmp_path / "store" / "cert.pem").write_bytes(new)
    assert directory.current().certificate == new
    assert directory.current() is directory.current()
