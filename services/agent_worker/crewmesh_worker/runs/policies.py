"""Tenants' policies, as runs are admitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.common.policy import Policy, parse_policy
from crewmesh.v1 import tenant_pb2, tenant_pb2_grpc

_MAX_KEPT: Final = 10_000
_CALL_SECONDS: Final = 5.0


@dataclass(frozen=True)
class PolicyInForce:
    """A tenant's policy, and since when it holds; None where the tenant has set none."""

    policy: Policy
    as_of: Timestamp | None


class TenantPolicies:
    """Asks the store for tenants' policies, and remembers them.

    What is remembered may be old: the store takes no run that another policy than the one in
    force has admitted, and whoever is refused by this one asks again.
    """

    def __init__(
        self, store: tenant_pb2_grpc.TenantServiceAsyncStub, signer: IdentitySigner
    ) -> None:
        self._store = store
        self._signer = signer
        self._kept: dict[str, PolicyInForce] = {}

    async def known(self, identity: Identity) -> PolicyInForce:
        """Return the policy of the caller's organisation as it was when last asked for."""
        return self._kept.get(identity.require_org()) or await self.ask(identity)

    async def ask(self, identity: Identity) -> PolicyInForce:
        """Return the policy of the caller's organisation as it is."""
        with rpc_errors():
            answer = await self._store.GetPolicy(
                tenant_pb2.GetPolicyRequest(),
                metadata=self._signer.metadata(identity),
                timeout=_CALL_SECONDS,
            )
        policy = PolicyInForce(
            parse_policy(answer.policy_json), answer.as_of if answer.HasField("as_of") else None
        )
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[identity.require_org()] = policy
        return policy
