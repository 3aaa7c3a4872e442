"""The keys that access tokens are signed with, and the tokens (RFC 8725, RFC 9068)."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwt.algorithms import OKPAlgorithm

from crewmesh.common.errors import UnauthenticatedError
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.tenants.vault import Sealed, Vault, VaultError

log = structlog.get_logger(__name__)

SQL = load_statements("identity")

ACCESS_LIFETIME: Final = timedelta(minutes=10)
AUDIENCE: Final = "crewmesh-api"
_ALGORITHM: Final = "EdDSA"
_TYPE: Final = "at+jwt"
_REQUIRED: Final = ["iss", "aud", "sub", "exp", "iat", "jti", "sid"]
# In place of an organisation: the keys are the mesh's own.
_NOBODYS: Final = "signing-keys"
# A key signs for a month; its successor is known to everybody a day before it signs.
_SIGNS: Final = timedelta(days=30)
_AHEAD: Final = timedelta(days=1)
# An unknown key's name makes this replica look for it, but not more often than that.
_LOOK_AGAIN_SECONDS: Final = 5.0


@dataclass(frozen=True)
class _Key:
    id: str
    # None where it can't be read: it was sealed by a key that isn't here.
    private: Ed25519PrivateKey | None
    public: Ed25519PublicKey
    jwk: Mapping[str, Any]
    signs: bool


class KeyRing:
    """The mesh's signing keys. Every replica has the same ones: they are in Postgres."""

    def __init__(self, database: Database, vault: Vault, issuer: str) -> None:
        self._database = database
        self._vault = vault
        self._issuer = issuer
        self._keys: dict[str, _Key] = {}
        self._looked_at = 0.0
        self._looking = asyncio.Lock()

    async def rotate(self) -> None:
        """See to it that a key is there which signs for a day at least, and know all of them."""
        private = Ed25519PrivateKey.generate()
        key_id = uuid4().hex[:16]
        jwk = {
            **OKPAlgorithm.to_jwk(private.public_key(), as_dict=True),
            "kid": key_id,
            "use": "sig",
            "alg": _ALGORITHM,
        }
        raw = base64.b64encode(private.private_bytes_raw()).decode()
        sealed = self._vault.seal(_NOBODYS, key_id, raw)
        await self._read()
        await self._database.fetch_after(
            SQL["lock_signing_keys"],
            SQL["add_signing_key"],
            id=key_id,
            private_key=sealed.data,
            sealed_by=sealed.key_id,
            public_jwk=json.dumps(jwk),
            signs=_SIGNS,
            ahead=_AHEAD,
            unusable=[key.id for key in self._keys.values() if key.private is None],
            token_lifetime=ACCESS_LIFETIME,
        )
        await self._database.fetch(SQL["forget_signing_keys"])
        await self._read()

    async def sign(self, user_id: str, org_id: str, family_id: UUID) -> str:
        """Return an access token for a sign-in."""
        key_id, private = self._signer or await self._renewed_signer()
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": user_id,
            "org": org_id,
            "sid": str(family_id),
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + int(ACCESS_LIFETIME.total_seconds()),
        }
        headers = {"kid": key_id, "typ": _TYPE}
        return jwt.encode(claims, private, algorithm=_ALGORITHM, headers=headers)

    async def verify(self, token: str) -> UUID:
        """Return the sign-in that a token came of; raise UnauthenticatedError if it's not ours."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != _TYPE:
                raise UnauthenticatedError("the access token is not valid")
            claims = jwt.decode(
                token,
                (await self._find(str(header.get("kid")))).public,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                issuer=self._issuer,
                options={"require": _REQUIRED},
            )
            return UUID(claims["sid"])
        except (jwt.InvalidTokenError, ValueError) as error:
            raise UnauthenticatedError("the access token is not valid or has expired") from error

    async def key_set(self) -> str:
        """Return the public keys as a JWK set (RFC 7517)."""
        await self._look_again()
        return json.dumps({"keys": [dict(key.jwk) for key in self._keys.values()]})

    @property
    def _signer(self) -> tuple[str, Ed25519PrivateKey] | None:
        usable = [(k.id, k.private) for k in self._keys.values() if k.signs and k.private]
        return usable[0] if usable else None

    async def _renewed_signer(self) -> tuple[str, Ed25519PrivateKey]:
        await self.rotate()
        assert self._signer is not None
        return self._signer

    async def _find(self, key_id: str) -> _Key:
        if key_id not in self._keys:
            await self._look_again()
        if key_id not in self._keys:
            raise UnauthenticatedError("the access token is not valid")
        return self._keys[key_id]

    async def _look_again(self) -> None:
        async with self._looking:
            if time.monotonic() - self._looked_at > _LOOK_AGAIN_SECONDS:
                await self._read()

    async def _read(self) -> None:
        rows = await self._database.fetch(SQL["read_signing_keys"])
        self._keys = {row["id"]: self._key_from_row(row) for row in rows}
        self._looked_at = time.monotonic()

    def _key_from_row(self, row: Row) -> _Key:
        sealed = Sealed(row["sealed_by"], bytes(row["private_key"]))
        jwk = json.loads(row["public_jwk"])
        public = OKPAlgorithm.from_jwk(jwk)
        assert isinstance(public, Ed25519PublicKey)
        private = None
        try:
            raw = base64.b64decode(self._vault.open(_NOBODYS, row["id"], sealed))
            private = Ed25519PrivateKey.from_private_bytes(raw)
        except VaultError:
            log.warning("a signing key can't be opened; another takes its place", key=row["id"])
        return _Key(row["id"], private, public, jwk, row["signs"])


def vault_of_signing_keys(secrets_key: str, mesh_secret: str) -> Vault:
    """Return what seals signing keys: the store's own keys, else one made of the mesh's secret.

    The mesh's secret is known to every service, so it does that only where there is nothing
    better; what it has sealed before stays readable.
    """
    derived = HKDF(hashes.SHA256(), length=32, salt=None, info=b"crewmesh signing keys").derive(
        mesh_secret.encode()
    )
    return Vault(f"{secrets_key},{base64.urlsafe_b64encode(derived).decode()}")
