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
from crewmesh.common.request_limits import RequestLimiter, require
from crewmesh.v1 import identity_pb2_grpc


class CallAuthenticator:
    """Accepts the mesh's signed identities, and API keys and access tokens as the store says."""

    def __init__(
        self,
        verifier: IdentityVerifier,
        store: identity_pb2_grpc.IdentityServiceAsyncStub,
        signer: IdentitySigner,
        limiter: RequestLimiter,
    ) -> None:
        self._verifier = verifier
        self._authenticator = Authenticator(store, signer.service)
        self._signer = signer
        self._limiter = limiter

    async def __call__(self, metadata: Mapping[str, str], address: str) -> Identity:
        """Return the caller.

        Raises UnauthenticatedError without valid credentials, and ExhaustedError for who asks
        too often. What the gateway passes on it has counted itself.
        """
        if token := metadata.get(IDENTITY_METADATA_KEY):
            return self._verifier.verify(token)
        scheme, _, credential = metadata.get("authorization", "").partition(" ")
        is_bearer = scheme.lower() == "bearer" and credential
        if not is_bearer or not self._authenticator.knows(credential):
            require(await self._limiter.take_for_address(address))
        if not is_bearer:
            raise UnauthenticatedError(
                "no credentials; send metadata `authorization: Bearer <API key>`"
            )
        own = self._signer.metadata()
        caller = await self._authenticator.authenticate(credential, own)
        require(await self._limiter.take_for(caller))
        return caller.identity
