"""crewmesh.v1.IdentityService."""

from __future__ import annotations

from typing import Any

from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh.common.grpc_server import caller
from crewmesh.v1 import identity_pb2, identity_pb2_grpc
from crewmesh_store.identity.repository import IdentityRepository


class IdentityServicer(identity_pb2_grpc.IdentityServiceServicer):
    """Who may do what, over gRPC."""

    def __init__(self, identities: IdentityRepository) -> None:
        self._identities = identities

    async def Authenticate(
        self, request: identity_pb2.AuthenticateRequest, context: Any
    ) -> identity_pb2.AuthenticateResponse:
        caller().require_service()
        principal = await self._identities.authenticate(request.api_key)
        return identity_pb2.AuthenticateResponse(principal=principal)

    async def CreateApiKey(
        self, request: identity_pb2.CreateApiKeyRequest, context: Any
    ) -> identity_pb2.CreateApiKeyResponse:
        if not 1 <= len(request.name) <= 100:
            raise InvalidInputError(
                "a key needs a name", violations=[Violation("name", "1 to 100 characters")]
            )
        key, secret = await self._identities.create_key(caller(), request.name)
        return identity_pb2.CreateApiKeyResponse(api_key=key, secret=secret)

    async def ListApiKeys(
        self, request: identity_pb2.ListApiKeysRequest, context: Any
    ) -> identity_pb2.ListApiKeysResponse:
        keys = await self._identities.list_keys(caller().require_org())
        return identity_pb2.ListApiKeysResponse(api_keys=keys)

    async def RevokeApiKey(
        self, request: identity_pb2.RevokeApiKeyRequest, context: Any
    ) -> identity_pb2.RevokeApiKeyResponse:
        await self._identities.revoke_key(caller().require_org(), request.id)
        return identity_pb2.RevokeApiKeyResponse()
