"""Lets in who has a valid API key or access token."""

from __future__ import annotations

import re

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from crewmesh.common.errors import CrewmeshError, UnauthenticatedError
from crewmesh.common.request_limits import Standing, require
from crewmesh_gateway.browser.cookies import SessionCookies
from crewmesh_gateway.browser.origin import require_same_origin
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.oidc.settings import CALLBACK_PATH
from crewmesh_gateway.problems import REQUEST_ID_KEY, problem_of_error
from crewmesh_gateway.standing import STANDING_KEY

CALLER_KEY = "crewmesh.caller"

# By web sockets, too: what they carry is let in by what they say first (graphql/context.py).
GRAPHQL_PATH = "/graphql"

# What is asked by who has no credential yet.
_OPEN_PATHS = frozenset(
    {
        "/v1/auth/token",
        "/v1/auth/refresh",
        "/v1/auth/logout",
        "/v1/auth/session",
        "/v1/auth/session/renew",
        "/v1/auth/providers",
        "/v1/auth/oidc/start",
        CALLBACK_PATH,
    }
)
# Asked every few seconds by what watches the gateway, from addresses that many may share.
WATCHED_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_BEARER = re.compile(r"bearer +([\x21-\x7e]{1,2048})", re.IGNORECASE)


class AuthenticationMiddleware:
    """Lets nothing under /v1, nor GraphQL, pass without a valid credential, but a sign-in.

    Nor who asks too often: by credential where there is a good one, else by network address. It
    stands before routing and before the body is read, so no route can forget it. What the
    caller may do is decided where it is done: by the services' rpcs.
    """

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            if scope["type"] == "http" and _is_closed(scope["path"]):
                await self._let_in(scope)
            elif scope["path"] not in WATCHED_PATHS:
                await self._take_for_address(scope)
        except CrewmeshError as error:
            await problem_of_error(error, scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _let_in(self, scope: Scope) -> None:
        authenticator = self._gateway.authenticator
        try:
            credential = credential_of(scope["method"], Headers(scope=scope), self._gateway.cookies)
        except CrewmeshError:
            await self._take_for_address(scope)
            raise
        if not authenticator.knows(credential):
            await self._take_for_address(scope)
        caller = scope[CALLER_KEY] = await authenticator.authenticate(
            credential, self._gateway.mesh.metadata(scope[REQUEST_ID_KEY])
        )
        structlog.contextvars.bind_contextvars(org_id=caller.identity.org_id)
        _require(scope, await self._gateway.limiter.take_for(caller))

    async def _take_for_address(self, scope: Scope) -> None:
        address = scope["client"][0] if scope.get("client") else ""
        _require(scope, await self._gateway.limiter.take_for_address(address))


def _require(scope: Scope, standing: Standing | None) -> None:
    """Refuse who asks too often; have the answer tell, either way, how they stand."""
    if standing is not None:
        scope[STANDING_KEY] = standing
    require(standing)


def _is_closed(path: str) -> bool:
    return path == GRAPHQL_PATH or (path.startswith("/v1/") and path not in _OPEN_PATHS)


def credential_of(method: str, headers: Headers, cookies: SessionCookies) -> str:
    """Return the credential of a request: its header's, else that of its browser's session.

    Raises UnauthenticatedError without one, and ForbiddenError for a session that is used
    by another site's page.
    """
    authorization = headers.get("authorization")
    session = cookies.read(headers) if authorization is None else None
    if session is not None:
        require_same_origin(method, headers)
        return session.credential
    if authorization is None:
        raise UnauthenticatedError(
            "this call needs an API key or an access token, in the header "
            "Authorization: Bearer <API key>"
        )
    return bearer(authorization)


def bearer(authorization: str) -> str:
    """Return the credential of an Authorization header; raise UnauthenticatedError for another."""
    matched = _BEARER.fullmatch(authorization)
    if matched is None:
        raise UnauthenticatedError("the header must be Authorization: Bearer <API key>")
    return matched[1]
