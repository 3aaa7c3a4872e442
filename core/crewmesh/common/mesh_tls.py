"""TLS between the mesh's services: whose certificate is whose, read anew when files change.

A service's directory holds `ca.pem` (whom to believe: one or more certificates), `cert.pem` and
`key.pem`, as `crewmesh certs` makes them. Certificates are of roles, not of machines: replicas
come and go at any address, so a client expects the role's name, whatever it has dialled.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

log = structlog.get_logger(__name__)

STORE: Final = "store"
WORKER: Final = "agent-worker"
GATEWAY: Final = "api-gateway"
# Internal services that call the workers with an API key.
CLIENT: Final = "client"
ROLES: Final = (STORE, WORKER, GATEWAY, CLIENT)

AUTHORITY_FILE: Final = "ca.pem"
CERTIFICATE_FILE: Final = "cert.pem"
KEY_FILE: Final = "key.pem"

_IDENTITY_PREFIX: Final = "spiffe://crewmesh/"
# A renewed certificate is taken this soon; a look costs three calls of stat.
_LOOK_SECONDS: Final = 1.0


def identity_uri(role: str) -> str:
    """Return the name by which a certificate says whose it is."""
    return f"{_IDENTITY_PREFIX}{role}"


def role_of_peer(auth_context: Mapping[str, Sequence[bytes]]) -> str:
    """Return the role that the other side's certificate names; empty where it showed none.

    gRPC has this name only of a certificate that it has verified.
    """
    names = auth_context.get("peer_spiffe_id", ())
    name = names[0].decode("utf-8", errors="replace") if len(names) == 1 else ""
    return name.removeprefix(_IDENTITY_PREFIX) if name.startswith(_IDENTITY_PREFIX) else ""


@dataclass(frozen=True)
class TlsFiles:
    """What a directory held at one moment: PEM, the key and the certificate a pair."""

    authority: bytes
    certificate: bytes
    key: bytes
    not_after: datetime


class TlsDirectory:
    """A service's certificate, key and authority.

    Raises ValueError when it is made of files that can't be used. Later, such files are reported
    and left alone: what was read before holds until they can be.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._looked_at = time.monotonic()
        self._stamp = self._read_stamp()
        self._files = _read(directory)

    def __repr__(self) -> str:
        return f"TlsDirectory({str(self._directory)!r})"

    @property
    def not_after(self) -> datetime:
        """When the certificate in use expires."""
        return self._files.not_after

    def current(self) -> TlsFiles:
        """Return what to use now. The same object comes back until the files have changed."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return self._files
        self._looked_at = now
        stamp = self._read_stamp()
        if stamp != self._stamp:
            try:
                self._files = _read(self._directory)
            except ValueError as error:
                # Files are replaced one after another: the next look may find them whole.
                log.warning("kept the certificate in use", reason=str(error))
                return self._files
            self._stamp = stamp
            log.info("took a new certificate", expires=self._files.not_after.isoformat())
        return self._files

    def server_credentials(self, *, ask_clients: bool = True) -> grpc.ServerCredentials:
        """Return what a server needs. With `ask_clients`, only a certificate opens a connection."""
        configured = self.current()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            # Called for each new connection, in a thread of gRPC's.
            nonlocal configured
            files = self.current()
            if files is configured:
                return None
            configured = files
            return _configuration(files, ask_clients)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(configured, ask_clients),
            fetch,  # type: ignore[arg-type]  # None says that nothing has changed
            require_client_authentication=ask_clients,
        )

    def _read_stamp(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(
            _stamp(self._directory / name) for name in (AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE)
        )


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Return what a client needs."""
    return grpc.ssl_channel_credentials(files.authority, files.key, files.certificate)


def _configuration(files: TlsFiles, ask_clients: bool) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(files.key, files.certificate)], files.authority if ask_clients else None
    )


def _read(directory: Path) -> TlsFiles:
    authority, certificate, key = (
        _read_file(directory / name) for name in (AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE)
    )
    try:
        _ = x509.load_pem_x509_certificates(authority)
        leaf = x509.load_pem_x509_certificates(certificate)[0]
        pair = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(
            f"{directory}: ca.pem, cert.pem and key.pem must be PEM, the key not encrypted: {error}"
        ) from None
    if leaf.public_key() != pair:
        raise ValueError(
            f"{directory}: key.pem isn't the key of cert.pem; `crewmesh certs` makes both"
        )
    return TlsFiles(authority, certificate, key, leaf.not_valid_after_utc)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; `crewmesh certs` makes it") from None


def is_loopback(address: str) -> bool:
    """Say whether nobody outside this machine has a part in what goes to or from `address`.

    `address` is host:port or a gRPC name: `dns:///store:8082`, `ipv4:127.0.0.1:1,127.0.0.1:2`.
    """
    scheme, colon, rest = address.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return True
    if colon and scheme in ("dns", "ipv4", "ipv6"):
        address = rest.rpartition("/")[2]
    return all(_is_loopback_host(part) for part in address.split(","))


def _is_loopback_host(address: str) -> bool:
    host = address.rpartition(":")[0] if address.count(":") == 1 or "]" in address else address
    host = host.strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_name(certificate: bytes) -> str:
    """Return a name that the certificate proves, for one who dials its own service."""
    leaf = x509.load_pem_x509_certificates(certificate)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)[0]
