"""API keys in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from crewmesh.common.errors import (
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    Violation,
)
from crewmesh.common.identity import Identity
from crewmesh.common.permissions import EVERY_SCOPE, permissions_of, unknown_scopes
from crewmesh.v1 import identity_pb2
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.identity.credentials import hash_of, new_key, prefix_of
from crewmesh_store.messages import parse_id, timestamp

SQL = load_statements("identity")

_MANAGE = "keys.manage"


class KeyRepository:
    """The API keys of users. Who may not manage everybody's sees and touches their own only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        identity: Identity,
        name: str,
        scopes: Sequence[str],
        expires_at: datetime | None,
        user_id: str,
    ) -> tuple[identity_pb2.ApiKey, str]:
        """Make a key; return it and its secret. It never permits more than the caller may do."""
        if user_id and user_id != identity.user_id:
            identity.require(_MANAGE)
        kept = _checked_scopes(identity, scopes)
        secret = new_key()
        row = await self._database.fetch_one(
            SQL["create_api_key"],
            org_id=identity.require_org(),
            user_id=parse_id(user_id or identity.user_id, "user"),
            caller_id=identity.user_id,
            may_own="owners.write" in identity.permissions,
            name=name,
            prefix=prefix_of(secret),
            secret_hash=hash_of(secret),
            scopes=kept,
            expires_at=expires_at,
        )
        if row is None:
            raise NotFoundError(
                f"there is no service account {user_id!r} for which you can do this"
            )
        return _from_row(row), secret

    async def list(self, identity: Identity) -> list[identity_pb2.ApiKey]:
        """Return the keys that the caller may see, oldest first, revoked ones too."""
        rows = await self._database.fetch(
            SQL["list_api_keys"], org_id=identity.require_org(), user_id=_whose(identity)
        )
        return [_from_row(row) for row in rows]

    async def revoke(self, identity: Identity, key_id: str) -> None:
        """End a key; doing it again changes nothing."""
        row = await self._database.fetch_one(
            SQL["revoke_api_key"],
            id=parse_id(key_id, "API key"),
            org_id=identity.require_org(),
            user_id=_whose(identity),
        )
        if row is None:
            raise NotFoundError(f"there is no API key {key_id!r}")


def _whose(identity: Identity) -> str | None:
    return None if _MANAGE in identity.permissions else identity.user_id


def _checked_scopes(identity: Identity, scopes: Sequence[str]) -> list[str]:
    """Return the scopes of a new key; those of the key that asks for it limit it, too."""
    if unknown := unknown_scopes(scopes):
        raise InvalidInputError(
            "a key's scopes are permissions",
            violations=[Violation("scopes", f"{scope!r} is none of them") for scope in unknown],
        )
    wanted = tuple(scopes) or identity.scopes
    if EVERY_SCOPE not in identity.scopes:
        beyond = permissions_of(identity.role, wanted) - identity.permissions
        if beyond:
            raise ForbiddenError(
                "a key can't give what the key that makes it lacks: " + ", ".join(sorted(beyond))
            )
    return list(wanted)


def _from_row(row: Row) -> identity_pb2.ApiKey:
    return identity_pb2.ApiKey(
        id=str(row["id"]),
        name=row["name"],
        prefix=row["prefix"],
        scopes=row["scopes"],
        user_id=str(row["user_id"]),
        created_at=timestamp(row["created_at"]),
        last_used_at=timestamp(row["last_used_at"]),
        expires_at=timestamp(row["expires_at"]),
        revoked_at=timestamp(row["revoked_at"]),
    )
