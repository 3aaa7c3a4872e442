"""Signing secrets of webhooks: sealed as tenants' secrets are, each for its run only."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog

from crewmesh.v1 import agent_pb2
from crewmesh_store.database import Row
from crewmesh_store.tenants.vault import Sealed, Vault, VaultError

log = structlog.get_logger(__name__)


def webhook_columns(
    webhook: agent_pb2.Webhook, run_id: UUID, org_id: str, vault: Vault
) -> dict[str, Any]:
    """Return a new run's webhook as `create_run` takes it; its URL is None where there is none.

    Raises StateError (SECRETS_NOT_CONFIGURED) for a secret that can't be sealed.
    """
    sealed = seal(vault, run_id, org_id, webhook.secret) if webhook.secret else None
    return {
        "webhook_url": webhook.url or None,
        "webhook_key_id": sealed.key_id if sealed else "",
        "webhook_sealed": sealed.data if sealed else None,
    }


def seal(vault: Vault, run_id: UUID, org_id: str, secret: str) -> Sealed:
    """Encrypt the secret of a run's webhook; raise StateError without a key."""
    return vault.seal(org_id, _name_of(run_id), secret)


def open_secret(vault: Vault, row: Row) -> str | None:
    """Return a delivery's secret, "" where it has none, None where it can't be opened."""
    if row["sealed"] is None:
        return str(row["secret"])
    sealed = Sealed(row["key_id"], bytes(row["sealed"]))
    try:
        return vault.open(str(row["org_id"]), _name_of(row["run_id"]), sealed)
    except VaultError:
        log.error("a webhook's secret can't be opened; is its key still set?", key=sealed.key_id)
        return None


def _name_of(run_id: UUID) -> str:
    """Return a name that no tenant's secret can have."""
    return f"webhook of {run_id}"
