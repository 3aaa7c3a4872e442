"""What is asked of the provider, and what is believed of its answers."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx2
import structlog
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from crewmesh.common.errors import UnavailableError
from crewmesh_gateway.oidc.settings import OidcSettings, is_safe_url

log = structlog.get_logger(__name__)

_CALL_SECONDS: Final = 10.0
_KEPT_SECONDS: Final = 3600.0
# A key that isn't known has the keys asked for again, but not for each forged token.
_KEYS_AGAIN_SECONDS: Final = 5.0
_MAX_BYTES: Final = 256 * 1024
_LEEWAY_SECONDS: Final = 30
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class RefusedError(Exception):
    """The provider, or who came from it, said something that can't be believed."""


@dataclass(frozen=True)
class Pending:
    """A sign-in that has begun: what only the browser in which it did can know."""

    state: str
    nonce: str
    verifier: str
    # The page to go on to.
    next: str
    ends_at: float


def begin(next_page: str, ends_at: float) -> Pending:
    """Return a new sign-in, with 256 bits for each secret."""
    return Pending(
        secrets.token_urlsafe(32),
        secrets.token_urlsafe(32),
        secrets.token_urlsafe(48),
        next_page,
        ends_at,
    )


class OidcProvider:
    """One provider. What it says of itself is kept for an hour."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        # Neither redirects nor proxies' environment lead a secret elsewhere.
        self._http = httpx2.AsyncClient(
            timeout=_CALL_SECONDS, follow_redirects=False, headers={"Accept": "application/json"}
        )
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def authorization_url(self, pending: Pending) -> str:
        """Return where the browser goes to sign in."""
        settings = self.settings
        query = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": settings.redirect_uri,
            "scope": settings.scopes,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": create_s256_code_challenge(pending.verifier),
            "code_challenge_method": "S256",
        }
        endpoint = (await self._discover())["authorization_endpoint"]
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def claims(self, code: str, pending: Pending) -> Mapping[str, Any]:
        """Return what the provider says of who brought this code.

        Raises RefusedError for a code or a token that isn't good, UnavailableError when the
        provider can't be asked.
        """
        answer = await self._redeem(code, pending)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise RefusedError("the provider's answer has no id_token")
        return await self._verify(token, pending.nonce, answer.get("access_token"))

    async def _redeem(self, code: str, pending: Pending) -> dict[str, Any]:
        settings, metadata = self.settings, await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.redirect_uri,
            "code_verifier": pending.verifier,
        }
        ways = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = None
        if settings.client_secret and "client_secret_basic" in ways:
            basic = httpx2.BasicAuth(settings.client_id, settings.client_secret)
        else:
            form["client_id"] = settings.client_id
            if settings.client_secret:
                form["client_secret"] = settings.client_secret
        request = self._http.build_request("POST", metadata["token_endpoint"], data=form)
        status, answer = await self._send(request, basic)
        if status != 200:
            raise RefusedError(f"the provider answers {status}: {answer.get('error', 'no reason')}")
        return answer

    async def _verify(self, token: str, nonce: str, access_token: object) -> Mapping[str, Any]:
        settings = self.settings
        try:
            decoded = jwt.decode(
                token, await self._key_of(token), algorithms=list(settings.algorithms)
            )
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"essential": True, "value": settings.issuer},
                    "aud": {"essential": True, "value": settings.client_id},
                },
                params={
                    "nonce": nonce,
                    "client_id": settings.client_id,
                    "access_token": access_token,
                },
            )
            claims.validate(leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError) as error:
            raise RefusedError(
                f"the id_token isn't good: {type(error).__name__}: {error}"
            ) from None
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise RefusedError("the id_token's sub is no subject")
        return dict(claims)

    async def _key_of(self, token: str) -> Key:
        """Return the provider's key that the token names."""
        kid = jws.extract_compact(token.encode()).headers().get("kid")
        for fresh in (False, True):
            keys = [
                key
                for key in (await self._key_set(fresh=fresh)).keys
                if key.as_dict(private=False).get("use", "sig") == "sig"
            ]
            if kid is None and len(keys) == 1:
                return keys[0]
            for key in keys:
                if kid is not None and key.kid == kid:
                    return key
        raise RefusedError(
            f"the id_token is signed with the key {kid!r}, which the provider doesn't show"
        )

    async def _key_set(self, *, fresh: bool) -> KeySet:
        if self._keys is not None:
            age = self._clock() - self._keys[0]
            if age < (_KEYS_AGAIN_SECONDS if fresh else _KEPT_SECONDS):
                return self._keys[1]
        answer = await self._get((await self._discover())["jwks_uri"])
        try:
            keys = KeySet.import_key_set(answer)  # type: ignore[arg-type]  # it checks what it is
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RefusedError(f"the provider's keys can't be read: {error}") from None
        self._keys = (self._clock(), keys)
        return keys

    async def _discover(self) -> dict[str, Any]:
        if self._metadata is not None and self._clock() - self._metadata[0] < _KEPT_SECONDS:
            return self._metadata[1]
        issuer = self.settings.issuer
        metadata = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if metadata.get("issuer") != issuer:
            raise RefusedError(
                f"{issuer} says of itself that it is {metadata.get('issuer')!r}; CREWMESH_OIDC_ISSUER "
                "must be the same, letter by letter"
            )
        for name in _ENDPOINTS:
            if not isinstance(metadata.get(name), str) or not is_safe_url(metadata[name]):
                raise RefusedError(f"the provider's {name} is no https:// address")
        self._metadata = (self._clock(), metadata)
        return metadata

    async def _get(self, url: str) -> dict[str, Any]:
        status, answer = await self._send(self._http.build_request("GET", url))
        if status != 200:
            raise UnavailableError(f"the identity provider answers {status} at {url}")
        return answer

    async def _send(
        self, request: httpx2.Request, auth: httpx2.BasicAuth | None = None
    ) -> tuple[int, dict[str, Any]]:
        try:
            response = await self._http.send(request, auth=auth, stream=True)
            try:
                content = b""
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _MAX_BYTES:
                        raise RefusedError(
                            f"the provider's answer is longer than {_MAX_BYTES} bytes"
                        )
            finally:
                await response.aclose()
        except httpx2.HTTPError as error:
            raise UnavailableError(
                f"the identity provider can't be reached: {type(error).__name__}"
            ) from error
        if response.status_code >= 500:
            raise UnavailableError(f"the identity provider answers {response.status_code}")
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise RefusedError("the provider's answer is no JSON object")
        return response.status_code, answer
