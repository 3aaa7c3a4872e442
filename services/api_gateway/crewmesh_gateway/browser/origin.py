"""Whether a browser's request comes from our own pages."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from crewmesh.common.errors import ForbiddenError

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def require_same_origin(method: str, headers: Headers) -> None:
    """Refuse what may change something and comes from another site's page.

    The browser says where from: `Sec-Fetch-Site`, which no page can forge, or, where it
    sends none (plain HTTP to another machine), `Origin`. Who says neither is refused too.
    """
    if method in _SAFE_METHODS:
        return
    site = headers.get("sec-fetch-site")
    if site == "same-origin" or (site is None and _origin_host(headers) == headers.get("host")):
        return
    raise ForbiddenError(
        "a browser's session is for the console's own pages; programs send "
        "Authorization: Bearer <API key>",
        reason="CROSS_ORIGIN",
    )


def is_secure(headers: Headers) -> bool:
    """Say whether the browser came by https, whatever proxies are between."""
    return headers.get("origin", "").startswith("https://")


def _origin_host(headers: Headers) -> str:
    return urlsplit(headers.get("origin", "")).netloc
