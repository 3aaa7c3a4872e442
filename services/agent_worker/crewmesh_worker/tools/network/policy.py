"""Which hosts a tenant's runs may reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import idna

from crewmesh_worker.tools.network.addresses import Address, refusal
from crewmesh_worker.tools.network.errors import RefusedError
from crewmesh_worker.tools.network.urls import Target
from crewmesh_worker.tools.registry import ToolError

# Names that mean this machine or this network, whatever DNS says of them.
_OWN_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "localdomain")


@dataclass(frozen=True)
class NetworkPolicy:
    """What one run may reach.

    `allowed` are host names, or `*.` and a domain for its subdomains; None allows every
    public host. `private` lets runs reach loopback and private networks too.
    """

    allowed: tuple[str, ...] | None = None
    private: bool = False

    @classmethod
    def of(cls, policy: Mapping[str, Any], *, private_network: bool = False) -> NetworkPolicy:
        """Return what a tenant's policy says of hosts.

        `private_network` is the operator's word: without it no tenant gets into private
        networks, which are the operator's. Raises ToolError where the policy can't be
        understood: then nothing is allowed.
        """
        hosts = policy.get("hosts") or {}
        allowed = hosts.get("allowed") if isinstance(hosts, Mapping) else ()
        private = hosts.get("private", private_network) if isinstance(hosts, Mapping) else None
        if not isinstance(private, bool) or not (
            allowed is None
            or (isinstance(allowed, list) and all(isinstance(name, str) for name in allowed))
        ):
            raise ToolError(
                "the network can't be used: the organisation's policy for hosts is not "
                "{allowed: [names] or null, private: true or false}; an owner must correct it"
            )
        patterns = None if allowed is None else tuple(map(_pattern, allowed))
        return cls(patterns, private and private_network)

    def check_target(self, target: Target) -> None:
        """Raise RefusedError unless the target may be reached, as far as its URL shows it."""
        if self.allowed is not None and not any(_matches(target.host, p) for p in self.allowed):
            listed = ", ".join(self.allowed) or "none"
            raise RefusedError(
                f"{target.host} is not among the hosts that the organisation allows ({listed}); "
                "an owner can add it to the policy"
            )
        if target.address is not None:
            self.check_address(target.address, target.host)
        elif not self.private and _is_own(target.host):
            raise RefusedError(
                f"{target.host} is a name in a private network: it may not be reached"
            )

    def check_address(self, address: Address, host: str) -> None:
        """Raise RefusedError unless sockets may connect to the address that a host has."""
        if (why := refusal(address, private=self.private)) is not None:
            named = "" if host == str(address) else f"{host} can't be reached: "
            raise RefusedError(f"{named}{why}, and only public addresses may be reached")


def _is_own(host: str) -> bool:
    return "." not in host or any(host.endswith(f".{name}") for name in _OWN_NAMES)


def _pattern(text: str) -> str:
    """Return a pattern as hosts are compared with it: in lower case, in ASCII."""
    wild, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    name = name.strip().rstrip(".").strip("[]")
    try:
        return wild + idna.encode(name, uts46=True).decode().lower()
    except UnicodeError:
        return wild + name.lower()


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern
