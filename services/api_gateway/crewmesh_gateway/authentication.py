"""Who is asking: API keys, checked by the store and remembered for seconds."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from crewmesh.common.errors import CrewmeshError, UnauthenticatedError
from crewmesh.common.identity import Identity
from crewmesh.v1.identity_pb2 import AuthenticateRequest, Principal
from crewmesh_gateway.mesh import SERVICE, Mesh, error_of
from crewmesh_gateway.problems import REQUEST_ID_KEY, problem_of_error

CALLER_KEY = "crewmesh.caller"

_KNOWN_SECONDS = 10.0
_UNKNOWN_SECONDS = 1.0
_MAX_REMEMBERED = 10_000
_CALL_SECONDS = 5.0
_BEARER = re.compile(r"bearer +([\x21-\x7e]{1,512})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client."""

    principal: Principal
    identity: Identity


class Authenticator:
    """Turns API keys into callers.

    A key is good for at most 10 s after the store said so, and bad for at most 1 s.
    Keys are remembered by their SHA-256 only; concurrent requests with a key that
    isn't remembered share one call to the store.
    """

    def __init__(self, mesh: Mesh, clock: Callable[[], float] = time.monotonic) -> None:
        self._mesh = mesh
        self._clock = clock
        self._remembered: dict[bytes, tuple[float, Caller | UnauthenticatedError]] = {}
        self._asked: dict[bytes, asyncio.Task[Caller]] = {}

    async def authenticate(self, api_key: str, request_id: str) -> Caller:
        """Return who holds `api_key`.

        Raises UnauthenticatedError for a key that isn't valid, and the store's error
        when it can't be asked.
        """
        digest = hashlib.sha256(api_key.encode()).digest()
        remembered = self._remembered.get(digest)
        if remembered is not None and remembered[0] > self._clock():
            if isinstance(remembered[1], UnauthenticatedError):
                raise UnauthenticatedError(remembered[1].message, reason=remembered[1].reason)
            return remembered[1]
        asking = self._asked.get(digest)
        if asking is None:
            asking = asyncio.create_task(self._ask(digest, api_key, request_id))
            self._asked[digest] = asking
            asking.add_done_callback(lambda _: self._asked.pop(digest))
        return await asyncio.shield(asking)

    def forget(self, api_key_id: str) -> None:
        """Ask the store again about a key that was just revoked."""
        for digest, (_, caller) in list(self._remembered.items()):
            if isinstance(caller, Caller) and caller.principal.api_key_id == api_key_id:
                del self._remembered[digest]

    async def _ask(self, digest: bytes, api_key: str, request_id: str) -> Caller:
        asked_at = self._clock()
        try:
            answer = await self._mesh.identities.Authenticate(
                AuthenticateRequest(api_key=api_key),
                timeout=_CALL_SECONDS,
                metadata=self._mesh.metadata(request_id),
            )
        except grpc.aio.AioRpcError as rpc_error:
            error = error_of(rpc_error)
            if isinstance(error, UnauthenticatedError):
                self._remember(digest, asked_at + _UNKNOWN_SECONDS, error)
            raise error from None
        caller = Caller(answer.principal, _identity(answer.principal))
        self._remember(digest, asked_at + _KNOWN_SECONDS, caller)
        return caller

    def _remember(self, digest: bytes, until: float, answer: Caller | UnauthenticatedError) -> None:
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = (until, answer)


class AuthenticationMiddleware:
    """Lets nothing under /v1 pass without a valid API key.

    It stands before routing and before the body is read, so no route can forget it.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            try:
                scope[CALLER_KEY] = await self._authenticator.authenticate(
                    api_key_of(Headers(scope=scope)), scope[REQUEST_ID_KEY]
                )
            except CrewmeshError as error:
                await problem_of_error(error, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def api_key_of(headers: Headers) -> str:
    """Return the API key that a request's headers hold; raise UnauthenticatedError without one."""
    authorization = headers.get("authorization")
    if authorization is None:
        raise UnauthenticatedError(
            "this call needs an API key, in the header Authorization: Bearer <API key>"
        )
    matched = _BEARER.fullmatch(authorization)
    if matched is None:
        raise UnauthenticatedError("the header must be Authorization: Bearer <API key>")
    return matched[1]


def _identity(principal: Principal) -> Identity:
    return Identity(
        service=SERVICE,
        org_id=principal.org_id,
        user_id=principal.user_id,
        role=principal.role,
        email=principal.email,
        org_name=principal.org_name,
        api_key_id=principal.api_key_id,
    )
