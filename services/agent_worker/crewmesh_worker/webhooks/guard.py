"""Keeps webhooks from reaching into private networks.

Every address is checked after the look-up, and the connection goes to the very address that
was checked: a name that answers differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL


class RefusedError(Exception):
    """The address may not be reached; the message says why."""


def checked_url(text: str, *, private: bool) -> URL:
    """Return the URL; raise RefusedError for one that webhooks are never sent to."""
    try:
        url = URL(text)
        known = url.scheme in ("http", "https") and bool(url.host) and url.port
    except ValueError as error:
        raise RefusedError(f"{text[:200]!r} is no URL: {error}") from error
    if not known:
        raise RefusedError(f"{text[:200]!r} is no http:// or https:// URL")
    if url.user is not None or url.password is not None:
        raise RefusedError("a webhook's URL can't hold a user name or password")
    try:
        address = ipaddress.ip_address(url.host or "")
    except ValueError:
        return url
    _check(address, str(address), private=private)
    return url


class GuardedResolver(AbstractResolver):
    """Looks names up, and refuses those with an address that isn't public."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the host's addresses; raise RefusedError if one of them may not be reached."""
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            _check(ipaddress.ip_address(result["host"]), host, private=self._private)
        return found

    async def close(self) -> None:
        """Nothing is held."""


def _check(address: Any, host: str, *, private: bool) -> None:
    judged = getattr(address, "ipv4_mapped", None) or address
    nowhere = judged.is_link_local or judged.is_unspecified or judged.is_reserved
    own = judged.is_loopback or (judged.is_private and not nowhere)
    if not (judged.is_global and not judged.is_multicast) and not (private and own):
        raise RefusedError(
            f"{host} has the address {address}, which isn't public: webhooks may not be sent there"
        )
