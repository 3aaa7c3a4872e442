"""Whose a credential is."""

from __future__ import annotations

from crewmesh.common.errors import UnauthenticatedError
from crewmesh.v1 import identity_pb2
from crewmesh_store.database import Database, load_statements
from crewmesh_store.identity.credentials import hash_of, is_access_token, prefix_of
from crewmesh_store.identity.signing import KeyRing

SQL = load_statements("identity")


class Principals:
    """Finds who holds an API key or an access token, and makes the first of all."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

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
            secret_hash=hash_of(api_key),
        )
        return bool(made)

    async def authenticate(self, credential: str) -> identity_pb2.Principal:
        """Return whose it is; raise UnauthenticatedError for one that isn't valid."""
        if is_access_token(credential):
            family_id = await self._keys.verify(credential)
            row = await self._database.fetch_one(
                SQL["find_principal_of_family"], family_id=family_id
            )
        else:
            row = await self._database.fetch_one(
                SQL["find_principal_of_key"], secret_hash=hash_of(credential)
            )
        if row is None:
            raise UnauthenticatedError("the API key or access token is not valid")
        if row["api_key_id"] is not None:
            await self._database.fetch(SQL["see_api_key"], id=row["api_key_id"])
        return identity_pb2.Principal(
            user_id=str(row["user_id"]),
            email=row["email"],
            org_id=str(row["org_id"]),
            org_name=row["org_name"],
            role=row["role"],
            api_key_id=str(row["api_key_id"] or ""),
            scopes=row["scopes"],
            max_requests_per_minute=row["max_requests_per_minute"] or 0,
        )
