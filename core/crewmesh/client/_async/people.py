"""Who may use the mesh: sign-ins, API keys, members and service accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from crewmesh.client import protocol
from crewmesh.client._async.resource import AsyncResource, every
from crewmesh.client.models import ApiKey, CreatedApiKey, Me, Member, Page, Tokens
from crewmesh.client.protocol import segment


class AsyncAccountResource(AsyncResource):
    """The caller, and sign-ins with a password."""

    async def me(self) -> Me:
        """Return who is asking, and what they may do."""
        return await self._transport.call(Me, protocol.get("/v1/me"))

    async def change_password(self, current_password: str, new_password: str) -> None:
        """Give yourself another password; all your sign-ins end, your API keys stay."""
        body = {"current_password": current_password, "new_password": new_password}
        request = protocol.Request("PUT", "/v1/me/password", {"json": body}, repeatable=False)
        await self._transport.send(request)

    async def sign_in(self, email: str, password: str) -> Tokens:
        """Return tokens for a password."""
        fields = {"grant_type": "password", "username": email, "password": password}
        return await self._transport.call(Tokens, protocol.form("/v1/auth/token", fields))

    async def refresh(self, refresh_token: str) -> Tokens:
        """Return new tokens for a refresh token, which is good once."""
        request = protocol.post("/v1/auth/refresh", {"refresh_token": refresh_token})
        return await self._transport.call(Tokens, request)

    async def sign_out(self, refresh_token: str) -> None:
        """End the sign-in that a refresh token came of."""
        await self._transport.send(
            protocol.post("/v1/auth/logout", {"refresh_token": refresh_token})
        )


class AsyncApiKeysResource(AsyncResource):
    """API keys: yours, and everybody's where you may manage them."""

    async def list(self) -> Page[ApiKey]:
        """Return the keys, revoked ones too, on one page."""
        return await self._transport.call(Page[ApiKey], protocol.get("/v1/api-keys"))

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] = (),
        expires_at: datetime | None = None,
        user_id: str | None = None,
    ) -> CreatedApiKey:
        """Create a key of yours, or a service account's; its secret is in this answer only."""
        body = protocol.given(
            name=name, scopes=list(scopes), expires_at=expires_at, user_id=user_id
        )
        return await self._transport.call(CreatedApiKey, protocol.post("/v1/api-keys", body))

    async def revoke(self, key_id: str) -> None:
        """Revoke a key, at once and for good."""
        await self._transport.send(protocol.delete(f"/v1/api-keys/{segment(key_id)}"))


class AsyncUsersResource(AsyncResource):
    """The organisation's people and service accounts."""

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Member]:
        """Return one page of them, newest first."""
        return await self._transport.call(
            Page[Member], protocol.get("/v1/users", limit=limit, cursor=cursor)
        )

    def iterate(self) -> AsyncIterator[Member]:
        """Yield all of them, newest first."""
        return every(lambda cursor: self.list(limit=200, cursor=cursor))

    async def get(self, user_id: str) -> Member:
        """Return one of them."""
        return await self._transport.call(Member, protocol.get(_user(user_id)))

    async def create(
        self,
        email: str,
        role: str,
        *,
        name: str = "",
        service_account: bool = False,
        password: str | None = None,
    ) -> Member:
        """Add a person, with or without a password, or a service account."""
        body = protocol.given(
            email=email,
            role=role,
            name=name,
            service_account=service_account,
            password=password,
        )
        return await self._transport.call(Member, protocol.post("/v1/users", body))

    async def update(
        self,
        user_id: str,
        *,
        name: str | None = None,
        role: str | None = None,
        disabled: bool | None = None,
        password: str | None = None,
    ) -> Member:
        """Change what is given."""
        changes = protocol.given(name=name, role=role, disabled=disabled, password=password)
        return await self._transport.call(Member, protocol.patch(_user(user_id), changes))

    async def delete(self, user_id: str) -> None:
        """Remove somebody with their keys and tokens; their runs stay."""
        await self._transport.send(protocol.delete(_user(user_id)))


def _user(user_id: str) -> str:
    return f"/v1/users/{segment(user_id)}"
