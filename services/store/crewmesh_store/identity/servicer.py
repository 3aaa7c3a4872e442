"""crewmesh.v1.IdentityService."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh.common.grpc_server import caller
from crewmesh.v1 import identity_pb2, identity_pb2_grpc
from crewmesh_store.identity.external import ExternalSignIns
from crewmesh_store.identity.keys import KeyRepository
from crewmesh_store.identity.principals import Principals
from crewmesh_store.identity.sign_ins import SignIns
from crewmesh_store.identity.signing import KeyRing
from crewmesh_store.identity.users import UserRepository
from crewmesh_store.messages import page_bounds


class IdentityServicer(identity_pb2_grpc.IdentityServiceServicer):
    """Who there is and who may do what, over gRPC."""

    def __init__(
        self,
        principals: Principals,
        sign_ins: SignIns,
        key_ring: KeyRing,
        keys: KeyRepository,
        users: UserRepository,
        external: ExternalSignIns,
    ) -> None:
        self._principals = principals
        self._sign_ins = sign_ins
        self._key_ring = key_ring
        self._keys = keys
        self._users = users
        self._external = external

    async def Authenticate(
        self, request: identity_pb2.AuthenticateRequest, context: Any
    ) -> identity_pb2.AuthenticateResponse:
        principal = await self._principals.authenticate(request.credential)
        return identity_pb2.AuthenticateResponse(principal=principal)

    async def SignIn(
        self, request: identity_pb2.SignInRequest, context: Any
    ) -> identity_pb2.SignInResponse:
        tokens = await self._sign_ins.sign_in(
            request.email, request.password, request.network_address
        )
        return identity_pb2.SignInResponse(tokens=tokens)

    async def SignInExternally(
        self, request: identity_pb2.SignInExternallyRequest, context: Any
    ) -> identity_pb2.SignInExternallyResponse:
        return identity_pb2.SignInExternallyResponse(tokens=await self._external.sign_in(request))

    async def RefreshTokens(
        self, request: identity_pb2.RefreshTokensRequest, context: Any
    ) -> identity_pb2.RefreshTokensResponse:
        tokens = await self._sign_ins.refresh(request.refresh_token)
        return identity_pb2.RefreshTokensResponse(tokens=tokens)

    async def SignOut(
        self, request: identity_pb2.SignOutRequest, context: Any
    ) -> identity_pb2.SignOutResponse:
        await self._sign_ins.sign_out(request.refresh_token)
        return identity_pb2.SignOutResponse()

    async def GetKeySet(
        self, request: identity_pb2.GetKeySetRequest, context: Any
    ) -> identity_pb2.GetKeySetResponse:
        return identity_pb2.GetKeySetResponse(jwks_json=await self._key_ring.key_set())

    async def CreateApiKey(
        self, request: identity_pb2.CreateApiKeyRequest, context: Any
    ) -> identity_pb2.CreateApiKeyResponse:
        if not 1 <= len(request.name) <= 100:
            raise InvalidInputError(
                "a key needs a name", violations=[Violation("name", "1 to 100 characters")]
            )
        key, secret = await self._keys.create(
            caller(), request.name, request.scopes, _expiry(request), request.user_id
        )
        return identity_pb2.CreateApiKeyResponse(api_key=key, secret=secret)

    async def ListApiKeys(
        self, request: identity_pb2.ListApiKeysRequest, context: Any
    ) -> identity_pb2.ListApiKeysResponse:
        return identity_pb2.ListApiKeysResponse(api_keys=await self._keys.list(caller()))

    async def RevokeApiKey(
        self, request: identity_pb2.RevokeApiKeyRequest, context: Any
    ) -> identity_pb2.RevokeApiKeyResponse:
        await self._keys.revoke(caller(), request.id)
        return identity_pb2.RevokeApiKeyResponse()

    async def CreateUser(
        self, request: identity_pb2.CreateUserRequest, context: Any
    ) -> identity_pb2.CreateUserResponse:
        return identity_pb2.CreateUserResponse(user=await self._users.create(caller(), request))

    async def ListUsers(
        self, request: identity_pb2.ListUsersRequest, context: Any
    ) -> identity_pb2.ListUsersResponse:
        limit, before = page_bounds(request.page_size, request.page_token)
        users = await self._users.list_page(caller().require_org(), before, limit + 1)
        more = len(users) > limit
        return identity_pb2.ListUsersResponse(
            users=users[:limit], next_page_token=users[limit - 1].id if more else ""
        )

    async def GetUser(
        self, request: identity_pb2.GetUserRequest, context: Any
    ) -> identity_pb2.GetUserResponse:
        user = await self._users.get(caller().require_org(), request.id)
        return identity_pb2.GetUserResponse(user=user)

    async def UpdateUser(
        self, request: identity_pb2.UpdateUserRequest, context: Any
    ) -> identity_pb2.UpdateUserResponse:
        return identity_pb2.UpdateUserResponse(user=await self._users.update(caller(), request))

    async def DeleteUser(
        self, request: identity_pb2.DeleteUserRequest, context: Any
    ) -> identity_pb2.DeleteUserResponse:
        await self._users.delete(caller(), request.id)
        return identity_pb2.DeleteUserResponse()

    async def ChangePassword(
        self, request: identity_pb2.ChangePasswordRequest, context: Any
    ) -> identity_pb2.ChangePasswordResponse:
        await self._users.change_password(caller(), request.current_password, request.new_password)
        return identity_pb2.ChangePasswordResponse()


def _expiry(request: identity_pb2.CreateApiKeyRequest) -> datetime | None:
    if not request.HasField("expires_at"):
        return None
    expires_at = request.expires_at.ToDatetime(UTC)
    if expires_at <= datetime.now(UTC):
        raise InvalidInputError(
            "the key would never be valid", violations=[Violation("expires_at", "in the future")]
        )
    return expires_at
