"""Secrets and policies in Postgres; each method is a statement of sql/tenants.sql."""

from __future__ import annotations

from crewmesh.common.errors import NotFoundError
from crewmesh.common.identity import Identity
from crewmesh.v1 import tenant_pb2
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.messages import timestamp
from crewmesh_store.tenants.vault import Vault

SQL = load_statements("tenants")

_ENDING_CHARACTERS = 4
# Of a shorter one, the ending would tell too much.
_LONG_ENOUGH = 20


class TenantRepository:
    """What organisations have set for their runs."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def put_secret(self, identity: Identity, name: str, value: str) -> tenant_pb2.Secret:
        """Keep a value, instead of an earlier one of that name."""
        org_id = identity.require_org()
        sealed = self._vault.seal(org_id, name, value)
        row = await self._database.fetch_one(
            SQL["put_secret"],
            org_id=org_id,
            name=name,
            key_id=sealed.key_id,
            sealed=sealed.data,
            ending=value[-_ENDING_CHARACTERS:] if len(value) >= _LONG_ENOUGH else "",
            created_by=identity.user_id,
        )
        assert row is not None
        return _secret_from_row(row)

    async def list_secrets(self, org_id: str) -> list[tenant_pb2.Secret]:
        """Return what may be known of the secrets, by name."""
        rows = await self._database.fetch(SQL["list_secrets"], org_id=org_id)
        return [_secret_from_row(row) for row in rows]

    async def get_secret(self, org_id: str, name: str) -> tenant_pb2.Secret:
        """Return what may be known of a secret; raise NotFoundError if there is none."""
        row = await self._database.fetch_one(SQL["get_secret"], org_id=org_id, name=name)
        if row is None:
            raise _no_secret(name)
        return _secret_from_row(row)

    async def delete_secret(self, org_id: str, name: str) -> None:
        """Forget a secret; raise NotFoundError if there is none."""
        if await self._database.fetch_one(SQL["delete_secret"], org_id=org_id, name=name) is None:
            raise _no_secret(name)

    async def get_policy(self, org_id: str) -> tenant_pb2.GetPolicyResponse:
        """Return the policy, an empty one where there is none."""
        row = await self._database.fetch_one(SQL["get_policy"], org_id=org_id)
        if row is None:
            return tenant_pb2.GetPolicyResponse()
        return tenant_pb2.GetPolicyResponse(
            policy_json=str(row["policy"]), as_of=timestamp(row["updated_at"])
        )

    async def put_policy(self, identity: Identity, policy_json: str) -> None:
        """Set the policy, which is valid."""
        await self._database.fetch(
            SQL["put_policy"],
            org_id=identity.require_org(),
            policy=policy_json,
            updated_by=identity.user_id,
        )


def _secret_from_row(row: Row) -> tenant_pb2.Secret:
    return tenant_pb2.Secret(
        name=row["name"],
        ending=row["ending"],
        created_by=row["created_by"],
        created_at=timestamp(row["created_at"]),
    )


def _no_secret(name: str) -> NotFoundError:
    return NotFoundError(f"there is no secret {name[:64]!r}")
