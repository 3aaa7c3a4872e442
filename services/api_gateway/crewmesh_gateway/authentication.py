"""Lets in who has a valid API key or access token."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from crewmesh.common.authentication import Authenticator
from crewmesh.common.errors import CrewmeshError, UnauthenticatedError
from crewmesh_gateway.mesh import Mesh
from crewmesh_gateway.problems import REQUEST_ID_KEY, problem_of_error

CALLER_KEY = "crewmesh.caller"

# What is asked by who has no credential yet.
_OPEN_PATHS = frozenset({"/v1/auth/token", "/v1/auth/refresh", "/v1/auth/logout"})
_BEARER = re.compile(r"bearer +([\x21-\x7e]{1,2048})", re.IGNORECASE)


class AuthenticationMiddleware:
    """Lets nothing under /v1 pass without a valid credential, but a sign-in.

    It stands before routing and before the body is read, so no route can forget it. What the
    caller may do is decided where it is done: by the services' rpcs.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, mesh: Mesh) -> None:
        self._app = app
        self._authenticator = authenticator
        self._mesh = mesh

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith("/v1/") and path not in _OPEN_PATHS:
            try:
                scope[CALLER_KEY] = await self._authenticator.authenticate(
                    credential_of(Headers(scope=scope)), self._mesh.metadata(scope[REQUEST_ID_KEY])
                )
            except CrewmeshError as error:
                await problem_of_error(error, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def credential_of(headers: Headers) -> str:
    """Return the credential in a request's headers; raise UnauthenticatedError without one."""
    authorization = headers.get("authorization")
    if authorization is None:
        raise UnauthenticatedError(
            "this call needs an API key or an access token, in the header "
            "Authorization: Bearer <API key>"
        )
    matched = _BEARER.fullmatch(authorization)
    if matched is None:
        raise UnauthenticatedError("the header must be Authorization: Bearer <API key>")
    return matched[1]
