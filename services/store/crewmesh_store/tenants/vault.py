"""Secrets at rest: AES-256-GCM, each bound to its organisation and name."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crewmesh.common.errors import InvalidInputError, StateError

log = structlog.get_logger(__name__)

_KEY_BYTES = 32
_NONCE_BYTES = 12


class VaultError(Exception):
    """A value was sealed by a key that isn't here, or for another name."""


@dataclass(frozen=True)
class Sealed:
    """A secret as it is kept: which key opens it, and its nonce and ciphertext."""

    key_id: str
    data: bytes


class Vault:
    """Seals with its first key, and opens with any of them.

    `keys` are 32 bytes each in URL-safe base64, separated by commas; without any it seals nothing.
    Raises InvalidInputError for what is no such key.
    """

    def __init__(self, keys: str) -> None:
        found = [_parse(key.strip()) for key in keys.split(",") if key.strip()]
        self._keys = {_id_of(key): AESGCM(key) for key in found}
        self._first = _id_of(found[0]) if found else None

    @property
    def seals(self) -> bool:
        """Whether there is a key to seal with."""
        return self._first is not None

    def seal(self, org_id: str, name: str, value: str) -> Sealed:
        """Encrypt a value; raise StateError (SECRETS_NOT_CONFIGURED) without a key."""
        if self._first is None:
            raise StateError(
                "this mesh can't keep secrets: set CREWMESH_SECRETS_KEY at the store",
                reason="SECRETS_NOT_CONFIGURED",
            )
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ciphertext = self._keys[self._first].encrypt(nonce, value.encode(), _bound_to(org_id, name))
        return Sealed(self._first, nonce + ciphertext)

    def open_all(self, org_id: str, kept: Iterable[tuple[str, str, str]]) -> dict[str, str]:
        """Return values by name, of `(name, key id, data in base64)`.

        One that none of the keys opens is left out, and the log says so: a run that needs it
        fails with its provider's error, and others don't.
        """
        opened = {}
        for name, key_id, data in kept:
            try:
                opened[name] = self.open(org_id, name, Sealed(key_id, base64.b64decode(data)))
            except VaultError:
                log.error("a secret can't be opened; is its key still set?", name=name, key=key_id)
        return opened

    def open(self, org_id: str, name: str, sealed: Sealed) -> str:
        """Return a value; raise VaultError if none of the keys opens it."""
        nonce, ciphertext = sealed.data[:_NONCE_BYTES], sealed.data[_NONCE_BYTES:]
        try:
            key = self._keys[sealed.key_id]
            return key.decrypt(nonce, ciphertext, _bound_to(org_id, name)).decode()
        except (KeyError, InvalidTag) as error:
            raise VaultError(f"no key opens {name!r}") from error


def _bound_to(org_id: str, name: str) -> bytes:
    return f"{org_id}/{name}".encode()


def _id_of(key: bytes) -> str:
    return hashlib.sha256(b"crewmesh secrets key " + key).hexdigest()[:12]


def _parse(text: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise InvalidInputError(
            "CREWMESH_SECRETS_KEY: each key is 32 random bytes in URL-safe base64; make one with "
            "`python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'`"
        )
    return key
