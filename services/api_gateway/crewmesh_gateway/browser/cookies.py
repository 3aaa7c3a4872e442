"""A browser's session: a cookie that only gateways of this mesh can read and make.

It holds the credential itself, sealed, so that gateways keep nothing: each can serve each
browser, and a restart signs nobody out. Scripts can't read it, and what steals it has no API key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

from crewmesh_gateway.browser.sealing import Sealer

# A working day. Whoever works on has it renewed.
SESSION_SECONDS: Final = 12 * 3600

_PURPOSE: Final = b"crewmesh browser session"


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """Who uses this browser, by which credential."""

    # An API key or an access token.
    credential: str
    # Empty for an API key.
    refresh_token: str
    # When the credential should be renewed and when the session ends, in Unix time.
    renew_at: float
    ends_at: float


class SessionCookies:
    """Seals sessions into cookies and opens them."""

    def __init__(self, mesh_secret: str, clock: Callable[[], float] = time.time) -> None:
        self._sealer = Sealer(mesh_secret, _PURPOSE)
        self._clock = clock
        self._name = f"crewmesh-{self._sealer.mark}"

    def read(self, headers: Headers) -> BrowserSession | None:
        """Return the session of a request's cookies; None without one that holds."""
        cookies = cookie_parser(headers.get("cookie", ""))
        sealed = cookies.get(f"__Host-{self._name}") or cookies.get(self._name)
        session = self._open(sealed) if sealed else None
        return session if session is not None and session.ends_at > self._clock() else None

    def write(self, response: Response, session: BrowserSession, *, secure: bool) -> None:
        """Give the browser this session; `secure`: it came by https."""
        response.set_cookie(
            self._cookie(secure=secure),
            self._sealer.seal(asdict(session)),
            max_age=max(0, int(session.ends_at - self._clock())),
            httponly=True,
            secure=secure,
            samesite="strict",
        )

    def clear(self, response: Response, *, secure: bool) -> None:
        """Have the browser forget its session."""
        response.delete_cookie(
            self._cookie(secure=secure), httponly=True, secure=secure, samesite="strict"
        )

    def _cookie(self, *, secure: bool) -> str:
        return f"__Host-{self._name}" if secure else self._name

    def _open(self, sealed: str) -> BrowserSession | None:
        content = self._sealer.open(sealed)
        return None if content is None else BrowserSession(**content)
