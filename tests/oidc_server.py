"""An OpenID Connect provider on this machine: real HTTP, real signatures, and attacks at will."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

CLIENT_ID = "crewmesh"
CLIENT_SECRET = "the secret of a client"

Claims = dict[str, Any]


@dataclass
class OidcServer:
    """Signs whoever `person` is in, without asking. `forge` may change what the token says."""

    issuer: str = ""
    person: Claims = field(default_factory=dict)
    forge: Callable[[Claims], Any] = lambda claims: None
    # Makes the token, where it isn't signed as it should be.
    sign: Callable[[Claims], str] | None = None
    key: Key = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first"}))
    shown: list[Key] | None = None
    asked: list[str] = field(default_factory=list)
    # By code: what the browser was sent with.
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    async def metadata(self, request: web.Request) -> web.Response:
        self.asked.append("metadata")
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        )

    async def keys(self, request: web.Request) -> web.Response:
        self.asked.append("keys")
        shown = [self.key] if self.shown is None else self.shown
        return web.json_response({"keys": [key.as_dict(private=False) for key in shown]})

    async def authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        back = f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
        raise web.HTTPFound(back)

    async def token(self, request: web.Request) -> web.Response:
        self.asked.append("token")
        form = await request.post()
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET.replace(' ', '+')}".encode()).decode()
        plain = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("Authorization") not in (f"Basic {basic}", f"Basic {plain}"):
            return web.json_response({"error": "invalid_client"}, status=401)
        begun = self._codes.pop(str(form["code"]), None)
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if begun is None or begun["code_challenge"] != challenge:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": begun["nonce"],
            **self.person,
        }
        self.forge(claims)
        token = self.sign(claims) if self.sign is not None else self.signed(claims, self.key)
        return web.json_response(
            {"access_token": "opaque", "token_type": "Bearer", "id_token": token}
        )

    def signed(self, claims: Claims, key: Key, algorithm: str = "RS256", **header: Any) -> str:
        named = {"kid": key.kid} if key.kid else {}
        return jwt.encode(
            {"alg": algorithm, **named, **header}, claims, key, algorithms=[algorithm]
        )

    def unsigned(self, claims: Claims) -> str:
        """Return a token of the algorithm `none`."""
        head = {"alg": "none", "kid": self.key.kid}
        return ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims)) + "."

    def signed_by_the_public_key(self, claims: Claims) -> str:
        """Return a token whose secret is what everybody knows: the key that verifies it."""
        secret = self.key.as_bytes(encoding="PEM", private=False)
        head = {"alg": "HS256", "kid": self.key.kid}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def foreign_key(kid: str = "first") -> Key:
    return RSAKey.generate_key(2048, {"kid": kid})


def elliptic_key(kid: str = "curve") -> Key:
    return ECKey.generate_key("P-256", {"kid": kid})


@contextlib.asynccontextmanager
async def serving_oidc() -> AsyncIterator[OidcServer]:
    """Serve a provider on a free port."""
    server = OidcServer()
    app = web.Application()
    app.add_routes(
        [
            web.get("/.well-known/openid-configuration", server.metadata),
            web.get("/keys", server.keys),
            web.get("/authorize", server.authorize),
            web.post("/token", server.token),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    server.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()
