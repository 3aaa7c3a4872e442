"""Tenants' policies, as runs are admitted."""

from __future__ import annotations

import time
from typing import Final

from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.common.policy import Policy, parse_policy
from crewmesh.v1 import tenant_pb2, tenant_pb2_grpc

# How long a changed policy may go unnoticed here. What is leased has the newest.
_KEPT_SECONDS: Final = 5.0
_MAX_KEPT: Final = 10_000
_CALL_SECONDS: Final = 5.0


class TenantPolicies:
    """Asks the store for a tenant's policy, and remembers it for seconds."""

    def __init__(
        self, store: tenant_pb2_grpc.TenantServiceAsyncStub, signer: IdentitySigner
    ) -> None:
        self._store = store
        self._signer = signer
        self._kept: dict[str, tuple[float, Policy]] = {}

    async def get(self, identity: Identity) -> Policy:
        """Return the policy of the caller's organisation."""
        org_id, now = identity.require_org(), time.monotonic()
        kept = self._kept.get(org_id)
        if kept is None or kept[0] < now:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            kept = self._kept[org_id] = (now + _KEPT_SECONDS, await self._ask(identity))
        return kept[1]

    async def _ask(self, identity: Identity) -> Policy:
        with rpc_errors():
            answer = await self._store.GetPolicy(
                tenant_pb2.GetPolicyRequest(),
                metadata=self._signer.metadata(identity),
                timeout=_CALL_SECONDS,
            )
        return parse_policy(answer.policy_json)
