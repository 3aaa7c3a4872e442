"""Sessions of the console: a sign-in that the browser keeps in a cookie."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from starlette.responses import Response

from crewmesh.common.errors import UnauthenticatedError
from crewmesh.v1.identity_pb2 import RefreshTokensRequest, SignInRequest, SignOutRequest, Tokens
from crewmesh_gateway import schemas_of_sessions as schemas
from crewmesh_gateway.bodies import JsonRoute
from crewmesh_gateway.browser.cookies import SESSION_SECONDS, BrowserSession
from crewmesh_gateway.browser.origin import is_secure, require_same_origin
from crewmesh_gateway.openapi import BODY_FAULTS, open_problems, problems
from crewmesh_gateway.problems import REQUEST_ID_KEY
from crewmesh_gateway.responses import Json
from crewmesh_gateway.routes.auth import ask, gateway_of, network_address

router = APIRouter(tags=["sign-in"], route_class=JsonRoute)

PATH = "/v1/auth/session"
RENEWAL_PATH = f"{PATH}/renew"

# Before the access token ends, so that nobody waits for a renewal.
_RENEWED_AHEAD_SECONDS = 60.0
_NOT_KEPT = {"Cache-Control": "no-store"}


@router.get(
    PATH,
    summary="Show the browser's session",
    responses={200: {"model": schemas.Session}, **open_problems()},
)
async def show_session(request: Request) -> Response:
    """Say whether this browser is signed in, and when its session should be renewed."""
    return _state(gateway_of(request).cookies.read(request.headers))


@router.post(
    PATH,
    summary="Sign a browser in",
    responses={200: {"model": schemas.Session}, **problems(*BODY_FAULTS)},
)
async def begin_session(request: Request, body: schemas.BeginSession) -> Response:
    """Take an API key, or an e-mail address and a password, and set the session's cookie.

    The cookie is HttpOnly and SameSite=Strict; calls with it that may change something are
    taken from the gateway's own pages only.
    """
    require_same_origin(request.method, request.headers)
    if body.api_key is not None:
        return _begin(request, await _session_of_key(request, body.api_key))
    assert body.email is not None
    assert body.password is not None
    answer = await ask(
        request,
        gateway_of(request).mesh.identities.SignIn,
        SignInRequest(
            email=body.email, password=body.password, network_address=network_address(request)
        ),
    )
    return _begin(request, session_of_tokens(answer.tokens))


@router.post(
    RENEWAL_PATH,
    summary="Renew the browser's session",
    responses={200: {"model": schemas.Session}, **problems()},
)
async def renew_session(request: Request) -> Response:
    """Give the session's credential and its cookie a new life."""
    require_same_origin(request.method, request.headers)
    gateway = gateway_of(request)
    session = gateway.cookies.read(request.headers)
    if session is None:
        raise UnauthenticatedError("there is no session in this browser; sign in")
    if not session.refresh_token:
        return _begin(request, await _session_of_key(request, session.credential))
    renewal = RefreshTokensRequest(refresh_token=session.refresh_token)
    answer = await ask(request, gateway.mesh.identities.RefreshTokens, renewal)
    return _begin(request, session_of_tokens(answer.tokens))


@router.delete(PATH, summary="Sign the browser out", status_code=204, responses=problems())
async def end_session(request: Request) -> Response:
    """Forget the session, and end the sign-in that it came of."""
    require_same_origin(request.method, request.headers)
    gateway = gateway_of(request)
    session = gateway.cookies.read(request.headers)
    if session is not None and session.refresh_token:
        end = SignOutRequest(refresh_token=session.refresh_token)
        await ask(request, gateway.mesh.identities.SignOut, end)
    response = Response(status_code=204)
    gateway.cookies.clear(response, secure=is_secure(request.headers))
    return response


async def _session_of_key(request: Request, api_key: str) -> BrowserSession:
    gateway = gateway_of(request)
    metadata = gateway.mesh.metadata(request.scope[REQUEST_ID_KEY])
    await gateway.authenticator.authenticate(api_key, metadata)
    now = time.time()
    return BrowserSession(api_key, "", now + SESSION_SECONDS / 2, now + SESSION_SECONDS)


def session_of_tokens(tokens: Tokens) -> BrowserSession:
    """Return the session of somebody who has just signed in."""
    now = time.time()
    return BrowserSession(
        tokens.access_token,
        tokens.refresh_token,
        now + max(0.0, tokens.expires_in_seconds - _RENEWED_AHEAD_SECONDS),
        now + SESSION_SECONDS,
    )


def _begin(request: Request, session: BrowserSession) -> Response:
    response = _state(session)
    gateway_of(request).cookies.write(response, session, secure=is_secure(request.headers))
    return response


def _state(session: BrowserSession | None) -> Response:
    content = {
        "signed_in": session is not None,
        "renew_in_seconds": max(0.0, session.renew_at - time.time()) if session else None,
    }
    return Json(content, headers=_NOT_KEPT)
