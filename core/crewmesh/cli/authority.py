"""A private authority for the mesh, and the certificates that it signs."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crewmesh.cli.errors import CliError, UsageError
from crewmesh.common.mesh_tls import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    CLIENT,
    KEY_FILE,
    ROLES,
    identity_uri,
)

AUTHORITY_KEY_FILE: Final = "ca-key.pem"
_AUTHORITY_DAYS: Final = 3650
# Clocks of two machines may differ by so much.
_BACKDATED: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Authority:
    """Signs certificates; `certificate` is what the mesh believes."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    made_now: bool

    @property
    def not_after(self) -> datetime:
        """When it ends, and with it all that it has signed."""
        return self.certificate.not_valid_after_utc


def open_authority(directory: Path) -> Authority:
    """Return the directory's authority, made now where there is none.

    Raises CliError where half of one is there, or what is there can't be read: one that a mesh
    may believe is never replaced.
    """
    certificate, key = directory / AUTHORITY_FILE, directory / AUTHORITY_KEY_FILE
    if certificate.exists() and key.exists():
        return _read_authority(certificate, key)
    if certificate.exists() or key.exists():
        there, missing = (certificate, key) if certificate.exists() else (key, certificate)
        raise CliError(
            f"{there} is there, and {missing.name} isn't",
            why="a new authority in its place would make every certificate of the old one worthless",
            next_step=f"bring {missing.name} back, or name an empty directory",
        )
    return _make_authority(certificate, key)


def issue(
    authority: Authority, directory: Path, role: str, hosts: Sequence[str], days: int
) -> datetime:
    """Write a role's key and certificate, new both, and return when the certificate expires.

    Without `hosts` it has those of the certificate that it replaces.
    """
    place = directory / role
    place.mkdir(mode=0o700, exist_ok=True)
    names = [_general_name(host) for host in hosts] or _hosts_of(place / CERTIFICATE_FILE, role)
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if role != CLIENT:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    not_after = min(datetime.now(UTC) + timedelta(days=days), authority.not_after)
    certificate = (
        _builder(role, not_after)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(role), *names, x509.UniformResourceIdentifier(identity_uri(role))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    _write(place / AUTHORITY_FILE, (directory / AUTHORITY_FILE).read_bytes())
    _write(place / KEY_FILE, _private_pem(key))
    _write(place / CERTIFICATE_FILE, certificate.public_bytes(Encoding.PEM))
    return certificate.not_valid_after_utc


def check_hosts(hosts: Sequence[str]) -> None:
    """Refuse hosts that aren't one, or that are a role's name."""
    for host in hosts:
        if host in ROLES:
            raise UsageError(
                f"--host {host}: that is a role's name, and only its own certificate has it"
            )
        _general_name(host)


def _make_authority(certificate_path: Path, key_path: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = "Crewmesh authority"
    certificate = (
        _builder(name, datetime.now(UTC) + timedelta(days=_AUTHORITY_DAYS))
        .issuer_name(_name(name))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, _private_pem(key))
    _write(certificate_path, certificate.public_bytes(Encoding.PEM))
    return Authority(certificate, key, made_now=True)


def _read_authority(certificate_path: Path, key_path: Path) -> Authority:
    try:
        # The first is the one that signs; others, of an authority that came before, are believed.
        certificate = x509.load_pem_x509_certificates(certificate_path.read_bytes())[0]
        key = load_pem_private_key(key_path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CliError(
            f"the authority in {certificate_path.parent} can't be read",
            why=str(error),
            next_step="bring its files back, or name an empty directory",
        ) from None
    if (
        not isinstance(key, ec.EllipticCurvePrivateKey)
        or key.public_key() != certificate.public_key()
    ):
        raise CliError(
            f"{key_path} isn't the key of {certificate_path}",
            next_step="bring the right one back, or name an empty directory",
        )
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise CliError(
            f"the authority in {certificate_path.parent} has expired",
            next_step="make a new one in an empty directory, and deploy it to all services together",
        )
    return Authority(certificate, key, made_now=False)


def _builder(name: str, not_after: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(datetime.now(UTC), not_after) - _BACKDATED)
        .not_valid_after(not_after)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.removeprefix("*.").split(".")
    if not all(label and label.replace("-", "").isalnum() and label.isascii() for label in labels):
        raise UsageError(f"--host {host!r} is neither a host's name nor an address")
    return x509.DNSName(host)


def _hosts_of(path: Path, role: str) -> list[x509.GeneralName]:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return []
    return [
        name
        for name in names
        if isinstance(name, x509.DNSName | x509.IPAddress) and name.value != role
    ]


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step; nobody else ever reads it."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
