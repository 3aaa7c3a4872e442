"""Signing in by an identity provider: there, and back with a session."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from crewmesh.common.errors import CrewmeshError, ForbiddenError, NotFoundError, UnavailableError
from crewmesh.v1.identity_pb2 import SignInExternallyRequest
from crewmesh_gateway import schemas_of_sessions as schemas
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.oidc.provider import OidcProvider, Pending, RefusedError, begin
from crewmesh_gateway.oidc.settings import CALLBACK_PATH, NotAdmittedError
from crewmesh_gateway.openapi import open_problems
from crewmesh_gateway.responses import Json
from crewmesh_gateway.routes.auth import ask, gateway_of
from crewmesh_gateway.routes.browser_sessions import session_of_tokens

log = structlog.get_logger(__name__)

router = APIRouter(tags=["sign-in"])

PROVIDERS_PATH: Final = "/v1/auth/providers"
START_PATH: Final = "/v1/auth/oidc/start"

_COOKIE_PATH: Final = "/v1/auth/oidc"
# Time enough for a second factor.
_PENDING_SECONDS: Final = 600
_HOME: Final = "/runs"
# A page of ours: no other host, and no way to name one.
_PAGE = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]{0,1000}")
_NOT_KEPT = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


@router.get(
    PROVIDERS_PATH,
    summary="List identity providers",
    responses={200: {"model": schemas.Providers}, **open_problems()},
)
async def list_providers(request: Request) -> Response:
    """Show by whom people may sign in, besides a password."""
    provider = gateway_of(request).oidc
    items = [] if provider is None else [{"label": provider.settings.label, "url": START_PATH}]
    return Json({"items": items})


@router.get(
    START_PATH,
    summary="Sign in by the identity provider",
    status_code=303,
    responses=open_problems(404),
)
async def start(
    request: Request, page: Annotated[str, Query(alias="next", max_length=1000)] = _HOME
) -> Response:
    """Send the browser to the provider; it comes back to the callback."""
    gateway, provider = _configured(request)
    pending = begin(page if _PAGE.fullmatch(page) else _HOME, time.time() + _PENDING_SECONDS)
    try:
        url = await provider.authorization_url(pending)
    except (RefusedError, UnavailableError) as error:
        return _failed(gateway, provider, _code_of(error), error)
    response = RedirectResponse(url, 303, _NOT_KEPT)
    response.set_cookie(
        _cookie(gateway, provider),
        gateway.pending_sign_ins.seal(asdict(pending)),
        max_age=_PENDING_SECONDS,
        path=_COOKIE_PATH,
        secure=_is_secure(provider),
        httponly=True,
        # The way back begins at another site.
        samesite="lax",
    )
    return response


@router.get(
    CALLBACK_PATH, summary="Come back from the identity provider", status_code=303,
    responses=open_problems(404),
)  # fmt: skip
async def come_back(request: Request) -> Response:
    """Take the provider's code and set the session's cookie, as a password does."""
    gateway, provider = _configured(request)
    try:
        pending, code = _expected(request, gateway, provider)
        claims = await provider.claims(code, pending)
        tokens = await _sign_in(request, provider, claims)
    except (RefusedError, NotAdmittedError, CrewmeshError) as error:
        return _failed(gateway, provider, _code_of(error), error)
    response = RedirectResponse(pending.next, 303, _NOT_KEPT)
    _forget(response, gateway, provider)
    gateway.cookies.write(response, session_of_tokens(tokens), secure=_is_secure(provider))
    return response


def _expected(request: Request, gateway: Gateway, provider: OidcProvider) -> tuple[Pending, str]:
    """Return what this browser began and the code that it brings; refuse what it didn't begin."""
    sealed = request.cookies.get(_cookie(gateway, provider), "")
    content = gateway.pending_sign_ins.open(sealed) if sealed else None
    pending = None if content is None else Pending(**content)
    query = request.query_params
    if (
        pending is None
        or pending.ends_at <= time.time()
        or not hmac.compare_digest(pending.state.encode(), query.get("state", "").encode())
    ):
        raise NotAdmittedError("expired", "this browser has begun no such sign-in, or too long ago")
    if query.get("iss", provider.settings.issuer) != provider.settings.issuer:
        raise RefusedError("the answer is another provider's")
    if error := query.get("error"):
        raise NotAdmittedError("denied", f"the provider says {error[:200]!r}")
    if not (code := query.get("code", "")):
        raise RefusedError("the answer has no code")
    return pending, code


async def _sign_in(request: Request, provider: OidcProvider, claims: Mapping[str, Any]) -> Any:
    settings = provider.settings
    admission = settings.admit(claims)
    answer = await ask(
        request,
        gateway_of(request).mesh.identities.SignInExternally,
        SignInExternallyRequest(
            issuer=settings.issuer,
            subject=claims["sub"],
            email=_text(claims, "email"),
            email_verified=claims.get("email_verified") is True or settings.trust_email,
            name=_text(claims, "name")[:100],
            org_name=admission.org_name,
            role=admission.role,
            role_is_said=admission.role_is_said,
        ),
    )
    return answer.tokens


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return "".join(c for c in value if c.isprintable()) if isinstance(value, str) else ""


def _configured(request: Request) -> tuple[Gateway, OidcProvider]:
    gateway = gateway_of(request)
    if gateway.oidc is None:
        raise NotFoundError("this mesh has no identity provider; see CREWMESH_OIDC_ISSUER")
    return gateway, gateway.oidc


def _code_of(error: Exception) -> str:
    """Return what the sign-in page is told: nothing that says which accounts there are."""
    if isinstance(error, NotAdmittedError):
        return error.code
    if isinstance(error, ForbiddenError):
        return error.reason.lower()
    return "unavailable" if isinstance(error, UnavailableError) else "refused"


def _failed(gateway: Gateway, provider: OidcProvider, code: str, error: Exception) -> Response:
    log.warning("sign-in by the identity provider failed", code=code, reason=str(error))
    response = RedirectResponse(f"/sign-in?{urlencode({'fault': code})}", 303, _NOT_KEPT)
    _forget(response, gateway, provider)
    return response


def _forget(response: Response, gateway: Gateway, provider: OidcProvider) -> None:
    """Have the browser forget what it began: a code and its state are good once."""
    response.delete_cookie(
        _cookie(gateway, provider), path=_COOKIE_PATH, secure=_is_secure(provider), httponly=True,
        samesite="lax",
    )  # fmt: skip


def _cookie(gateway: Gateway, provider: OidcProvider) -> str:
    name = f"crewmesh-oidc-{gateway.pending_sign_ins.mark}"
    return f"__Secure-{name}" if _is_secure(provider) else name


def _is_secure(provider: OidcProvider) -> bool:
    return provider.settings.redirect_uri.startswith("https://")
