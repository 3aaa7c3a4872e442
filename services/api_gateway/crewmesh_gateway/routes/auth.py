"""Signing in and out."""

from __future__ import annotations

from urllib.parse import parse_qs

import grpc
from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from crewmesh.common.request_limits import network_of
from crewmesh.v1.identity_pb2 import (
    GetKeySetRequest,
    RefreshTokensRequest,
    SignInRequest,
    SignOutRequest,
    Tokens,
)
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import JsonRoute, read_body
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.mesh import error_of
from crewmesh_gateway.openapi import BODY_FAULTS, open_problems
from crewmesh_gateway.problems import REQUEST_ID_KEY
from crewmesh_gateway.relay import CALL_SECONDS, Answer, Ask
from crewmesh_gateway.responses import Json

router = APIRouter(tags=["sign-in"], route_class=JsonRoute)

_FORM_TYPE = "application/x-www-form-urlencoded"
_MAX_FORM_BYTES = 16_384
_MAX_FIELDS = 16
# Tokens are for the client alone (RFC 6749, section 5.1).
_NOT_KEPT = {"Cache-Control": "no-store"}
_KEY_SET_KEPT = {"Cache-Control": "public, max-age=300"}

_FORM_SCHEMA = {
    "required": True,
    "content": {
        _FORM_TYPE: {
            "schema": {
                "type": "object",
                "required": ["username", "password"],
                "properties": {
                    "grant_type": {"type": "string", "enum": ["password"]},
                    "username": {"type": "string", "description": "The e-mail address."},
                    "password": {"type": "string", "format": "password"},
                },
            }
        }
    },
}


@router.post(
    "/v1/auth/token",
    summary="Sign in",
    responses={200: {"model": schemas.Tokens}, **open_problems(*BODY_FAULTS)},
    openapi_extra={"requestBody": _FORM_SCHEMA},
)
async def sign_in(request: Request) -> Response:
    """Take a password and give tokens (OAuth 2.0's password form)."""
    username, password = await _credentials(request)
    answer = await ask(
        request,
        gateway_of(request).mesh.identities.SignIn,
        SignInRequest(email=username, password=password, network_address=network_address(request)),
    )
    return _answer(answer.tokens)


@router.post(
    "/v1/auth/refresh",
    summary="Renew tokens",
    responses={200: {"model": schemas.Tokens}, **open_problems(*BODY_FAULTS)},
)
async def refresh(request: Request, body: schemas.RefreshTokens) -> Response:
    """Take a refresh token, once, and give new tokens. A second use ends the sign-in."""
    answer = await ask(
        request,
        gateway_of(request).mesh.identities.RefreshTokens,
        RefreshTokensRequest(refresh_token=body.refresh_token),
    )
    return _answer(answer.tokens)


@router.post(
    "/v1/auth/logout",
    summary="Sign out",
    status_code=204,
    responses=open_problems(*BODY_FAULTS),
)
async def sign_out(request: Request, body: schemas.RefreshTokens) -> Response:
    """End the sign-in that a refresh token came of, and its access tokens within 10 seconds."""
    await ask(
        request,
        gateway_of(request).mesh.identities.SignOut,
        SignOutRequest(refresh_token=body.refresh_token),
    )
    return Response(status_code=204)


@router.get("/.well-known/jwks.json", summary="Public keys", responses=open_problems())
async def key_set(request: Request) -> Response:
    """Show the keys that access tokens are signed with, as a JWK set (RFC 7517)."""
    answer = await ask(request, gateway_of(request).mesh.identities.GetKeySet, GetKeySetRequest())
    return Response(answer.jwks_json, headers=_KEY_SET_KEPT, media_type="application/jwk-set+json")


async def _credentials(request: Request) -> tuple[str, str]:
    """Return user name and password from the form; raise for anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
        raise HTTPException(415, f"the body must be a form, with Content-Type: {_FORM_TYPE}")
    content = await read_body(request, _MAX_FORM_BYTES)
    try:
        form = parse_qs(
            content.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"
        )
    except ValueError:
        raise HTTPException(400, "the body is not a form in UTF-8") from None
    if form.get("grant_type", ["password"]) != ["password"]:
        raise _missing("grant_type", "it must be password, or left out")
    for name in ("username", "password"):
        value = form.get(name, [])
        if len(value) != 1 or not value[0] or "\x00" in value[0]:
            raise _missing(name, "required, once")
    return form["username"][0], form["password"][0]


def _missing(name: str, fault: str) -> RequestValidationError:
    return RequestValidationError([{"type": "form", "loc": ("body", name), "msg": fault}])


async def ask(
    request: Request, method: grpc.aio.UnaryUnaryMultiCallable[Ask, Answer], ask: Ask
) -> Answer:
    """Call the mesh for somebody who has no credential yet."""
    metadata = gateway_of(request).mesh.metadata(request.scope[REQUEST_ID_KEY])
    try:
        return await method(ask, timeout=CALL_SECONDS, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from None


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def network_address(request: Request) -> str:
    """Return where a request came from, of IPv6 the network; empty where that isn't known."""
    return network_of(request.client.host) if request.client else ""


def _answer(tokens: Tokens) -> Response:
    content = {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "token_type": "bearer",
        "expires_in": tokens.expires_in_seconds,
    }
    return Json(content, headers=_NOT_KEPT)
