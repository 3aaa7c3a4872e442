"""Look-ups and sockets that the policy has checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from crewmesh_worker.tools.network.errors import UnreachableError
from crewmesh_worker.tools.network.policy import NetworkPolicy

# What getaddrinfo returns for a host and a port: the addresses, as text.
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]


async def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as the machine's resolver gives them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class CheckedResolver(AbstractResolver):
    """Gives the connection the very addresses that were checked.

    A name is looked up once for each connection, and there is no second look-up that could
    answer differently. One address that isn't allowed makes the whole name refused: a name
    that is half public and half private is an attack, or a mistake.
    """

    def __init__(self, policy: NetworkPolicy, lookup: Lookup = look_up) -> None:
        self._policy = policy
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the host's addresses; raise RefusedError or UnreachableError instead."""
        try:
            addresses = await self._lookup(host, port)
        except OSError as error:
            raise UnreachableError(
                f"{host} can't be found: either there is no such host, or this machine has no "
                f"network ({error})"
            ) from error
        for text in addresses:
            self._policy.check_address(ipaddress.ip_address(text), host)
        return [_result(host, port, text) for text in addresses]

    async def close(self) -> None:
        """Hold nothing."""


def checked_sockets(policy: NetworkPolicy) -> Callable[[tuple[Any, ...]], socket.socket]:
    """Return what makes the client's sockets.

    It sees the address of every connection, however the address was come by, and makes no
    socket for one that isn't allowed.
    """

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        host = str(address[0])
        policy.check_address(ipaddress.ip_address(host), host)
        return socket.socket(family, kind, protocol)

    return make


def checked_connector(policy: NetworkPolicy, lookup: Lookup = look_up) -> TCPConnector:
    """Return what opens connections, to addresses that the policy has checked only."""
    return TCPConnector(
        resolver=CheckedResolver(policy, lookup),
        socket_factory=checked_sockets(policy),
        use_dns_cache=False,
        limit=0,
    )


def _result(host: str, port: int, address: str) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST,
    )
