"""Who calls AgentService: the gateway on a person's behalf, or somebody with an API key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from crewmesh.common.errors import UnauthenticatedError
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import (
    IDENTITY_METADATA_KEY,
    Identity,
    IdentitySigner,
    IdentityVerifier,
)
from crewmesh.v1 import identity_pb2, identity_pb2_grpc

# How long a revoked key may go on being accepted.
_KEPT_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 5.0


class Authenticator:
    """Accepts the mesh's signed identities, and API keys by asking the store."""

    def __init__(
        self,
        verifier: IdentityVerifier,
        store: identity_pb2_grpc.IdentityServiceAsyncStub,
        signer: IdentitySigner,
    ) -> None:
        self._verifier = verifier
        self._store = store
        self._signer = signer
        self._kept: dict[str, tuple[float, Identity]] = {}

    async def __call__(self, metadata: Mapping[str, str]) -> Identity:
        """Return the caller; raise UnauthenticatedError without valid credentials."""
        if token := metadata.get(IDENTITY_METADATA_KEY):
            return self._verifier.verify(token)
        scheme, _, key = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise UnauthenticatedError(
                "no credentials; send metadata `authorization: Bearer <API key>`"
            )
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is None or kept[0] < now:
            if len(self._kept) > 10_000:
                self._kept.clear()
            kept = self._kept[key] = (now + _KEPT_SECONDS, await self._ask(key))
        return kept[1]

    async def _ask(self, key: str) -> Identity:
        with rpc_errors():
            response = await self._store.Authenticate(
                identity_pb2.AuthenticateRequest(api_key=key),
                metadata=self._signer.metadata(),
                timeout=_CALL_SECONDS,
            )
        principal = response.principal
        return Identity(
            service="agent_worker",
            org_id=principal.org_id,
            user_id=principal.user_id,
            role=principal.role,
            email=principal.email,
            org_name=principal.org_name,
            api_key_id=principal.api_key_id,
        )
