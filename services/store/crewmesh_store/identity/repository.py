"""Identities in Postgres; each method is a statement of sql/identity.sql."""

from __future__ import annotations

from crewmesh.common.errors import NotFoundError, UnauthenticatedError
from crewmesh.common.identity import Identity
from crewmesh.v1 import identity_pb2
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.identity.keys import hash_key, new_key, prefix_of
from crewmesh_store.messages import parse_id, timestamp

SQL = load_statements("identity")


class IdentityRepository:
    """Organisations, users and API keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bootstrap(self, org_name: str, email: str, api_key: str) -> bool:
        """Make the first organisation, its owner and their key, unless there is one.

        Replicas that start at once on an empty database make one in all.
        """
        made = await self._database.fetch_after(
            SQL["lock_owner"],
            SQL["create_owner"],
            org_name=org_name,
            email=email,
            prefix=prefix_of(api_key),
            secret_hash=hash_key(api_key),
        )
        return bool(made)

    async def authenticate(self, api_key: str) -> identity_pb2.Principal:
        """Return whose key it is; raise UnauthenticatedError for one that isn't valid."""
        row = await self._database.fetch_one(SQL["find_principal"], secret_hash=hash_key(api_key))
        if row is None:
            raise UnauthenticatedError("the API key is not valid")
        await self._database.fetch(SQL["see_api_key"], id=row["api_key_id"])
        return identity_pb2.Principal(
            user_id=str(row["user_id"]),
            email=row["email"],
            org_id=str(row["org_id"]),
            org_name=row["org_name"],
            role=row["role"],
            api_key_id=str(row["api_key_id"]),
        )

    async def create_key(self, identity: Identity, name: str) -> tuple[identity_pb2.ApiKey, str]:
        """Make a key for the caller; return it and its secret."""
        secret = new_key()
        row = await self._database.fetch_one(
            SQL["create_api_key"],
            org_id=identity.require_org(),
            user_id=identity.user_id,
            name=name,
            prefix=prefix_of(secret),
            secret_hash=hash_key(secret),
        )
        assert row is not None
        return _key_from_row(row), secret

    async def list_keys(self, org_id: str) -> list[identity_pb2.ApiKey]:
        """Return the organisation's keys, oldest first, revoked ones too."""
        rows = await self._database.fetch(SQL["list_api_keys"], org_id=org_id)
        return [_key_from_row(row) for row in rows]

    async def revoke_key(self, org_id: str, key_id: str) -> None:
        """End a key; doing it again changes nothing."""
        row = await self._database.fetch_one(
            SQL["revoke_api_key"], id=parse_id(key_id, "API key"), org_id=org_id
        )
        if row is None:
            raise NotFoundError(f"there is no API key {key_id!r}")


def _key_from_row(row: Row) -> identity_pb2.ApiKey:
    return identity_pb2.ApiKey(
        id=str(row["id"]),
        name=row["name"],
        prefix=row["prefix"],
        created_at=timestamp(row["created_at"]),
        last_used_at=timestamp(row["last_used_at"]),
        revoked_at=timestamp(row["revoked_at"]),
    )
