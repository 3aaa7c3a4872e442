"""Who calls AgentService: the gateway on a person's behalf, or somebody with a credential."""

from __future__ import annotations

from collections.abc import Mapping

from crewmesh.common.authentication import Authenticator
from crewmesh.common.errors import UnauthenticatedError
from crewmesh.common.identity import (
    IDENTITY_METADATA_KEY,
    Identity,
    IdentitySigner,
    IdentityVerifier,
)
from crewmesh.v1 import identity_pb2_grpc


class CallAuthenticator:
    """Accepts the mesh's signed identities, and API keys and access tokens as the store says."""

    def __init__(
        self,
        verifier: IdentityVerifier,
        store: identity_pb2_grpc.IdentityServiceAsyncStub,
        signer: IdentitySigner,
    ) -> None:
        self._verifier = verifier
        self._authenticator = Authenticator(store, signer.service)
        self._signer = signer

    async def __call__(self, metadata: Mapping[str, str]) -> Identity:
        """Return the caller; raise UnauthenticatedError without valid credentials."""
        if token := metadata.get(IDENTITY_METADATA_KEY):
            return self._verifier.verify(token)
        scheme, _, credential = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not credential:
            raise UnauthenticatedError(
                "no credentials; send metadata `authorization: Bearer <API key>`"
            )
        own = self._signer.metadata()
        return (await self._authenticator.authenticate(credential, own)).identity
