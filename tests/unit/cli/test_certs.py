"""`crewmesh certs`: a private authority and what it signs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from crewmesh.common.mesh_tls import TlsDirectory
from tests.unit.cli.conftest import Crewmesh


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(path: Path) -> x509.SubjectAlternativeName:
    extension = certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value


def test_each_role_gets_a_directory_that_its_service_can_use(
    crewmesh: Crewmesh, tmp_path: Path
) -> None:
    place = tmp_path / "deep" / "tls"
    done = crewmesh("certs", str(place), "--days", "30", "--json")
    assert done.status == 0, done.err
    roles = [item["role"] for item in done.json["certificates"]]
    assert roles == ["store", "agent-worker", "api-gateway"]
    authority = certificate(place / "ca.pem")
    for role in roles:
        leaf = certificate(place / role / "cert.pem")
        leaf.verify_directly_issued_by(authority)
        assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
        alternative = names(place / role / "cert.pem")
        assert alternative.get_values_for_type(x509.DNSName) == [role]
        assert alternative.get_values_for_type(x509.UniformResourceIdentifier) == [
            f"spiffe://crewmesh/{role}"
        ]
        expires = TlsDirectory(place / role).not_after
        assert timedelta(days=29) < expires - datetime.now(UTC) < timedelta(days=31)
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) == 2 + 3 * 3
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in place.rglob("*") if path.is_dir()} == {0o700}


def test_a_second_time_certificates_are_renewed_by_the_same_authority_with_the_same_hosts(
    crewmesh: Crewmesh, tmp_path: Path
) -> None:
    crewmesh("certs", str(tmp_path), "--host", "mesh.example", "--host", "10.0.0.7")
    authority, before = ((tmp_path / path).read_bytes() for path in ("ca.pem", "store/cert.pem"))
    worker = (tmp_path / "agent-worker" / "cert.pem").read_bytes()
    again = crewmesh("certs", str(tmp_path), "--roles", "store,client")
    assert "kept" in again.out
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert (tmp_path / "store" / "cert.pem").read_bytes() != before
    assert (tmp_path / "agent-worker" / "cert.pem").read_bytes() == worker
    alternative = names(tmp_path / "store" / "cert.pem")
    assert alternative.get_values_for_type(x509.DNSName) == ["store", "mesh.example"]
    assert [str(ip) for ip in alternative.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    usage = certificate(tmp_path / "client" / "cert.pem").extensions.get_extension_for_class(
        x509.ExtendedKeyUsage
    )
    assert x509.ExtendedKeyUsageOID.SERVER_AUTH not in list(usage.value)


@pytest.mark.parametrize("lost", ["ca.pem", "ca-key.pem"])
def test_half_an_authority_is_never_replaced(crewmesh: Crewmesh, tmp_path: Path, lost: str) -> None:
    crewmesh("certs", str(tmp_path))
    (tmp_path / lost).unlink()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refused = crewmesh("certs", str(tmp_path))
    assert refused.status == 1
    assert f"bring {lost} back" in refused.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_authoritys_key_signs_nothing(crewmesh: Crewmesh, tmp_path: Path) -> None:
    crewmesh("certs", str(tmp_path / "a"))
    crewmesh("certs", str(tmp_path / "b"))
    (tmp_path / "a" / "ca-key.pem").write_bytes((tmp_path / "b" / "ca-key.pem").read_bytes())
    refused = crewmesh("certs", str(tmp_path / "a"))
    assert refused.status == 1
    assert "isn't the key of" in refused.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--roles", "store,queen"), "queen"),
        (("--roles", " , "), "none is named"),
        (("--host", "store"), "a role's name"),
        (("--host", "a b"), "neither a host's name nor an address"),
        (("--host", "spiffe://crewmesh/store"), "neither a host's name nor an address"),
        (("--days", "0"), "--days"),
    ],
)
def test_what_makes_no_sense_makes_nothing(
    crewmesh: Crewmesh, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    refused = crewmesh("certs", str(tmp_path / "tls"), *options)
    assert refused.status == 2
    assert told in refused.err
    assert not (tmp_path / "tls").exists()
