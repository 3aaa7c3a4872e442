"""Which IP addresses tools may connect to.

The table is IANA's registries of special-purpose addresses, written out: what Python's
`is_global` says has changed between its versions.
"""

from __future__ import annotations

import ipaddress
from enum import Enum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Kind(Enum):
    """What an address that isn't public is; `OWN` is what a tenant's own network may have."""

    OWN = "private"
    NEVER = "never"


def _networks(kind: Kind, *named: tuple[str, str]) -> list[tuple[_Network, str, Kind]]:
    return [
        (ipaddress.ip_network(cidr), name, kind) for name, cidrs in named for cidr in cidrs.split()
    ]


# The first that holds an address says what it is: clouds' metadata come before the networks
# that they are in.
_SPECIAL = [
    *_networks(
        Kind.NEVER,
        ("a cloud's metadata", "169.254.0.0/16 168.63.129.16/32 100.100.100.200/32 192.0.0.192/32"),
        ("a cloud's metadata", "fd00:ec2::/32 fd20:ce::254/128"),
    ),
    *_networks(
        Kind.OWN,
        ("loopback", "127.0.0.0/8 ::1/128"),
        ("private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7"),
        ("a carrier's shared space", "100.64.0.0/10"),
    ),
    *_networks(
        Kind.NEVER,
        ("unspecified", "0.0.0.0/8 ::/128"),
        ("link-local", "fe80::/10 fec0::/10"),
        ("multicast", "224.0.0.0/4 ff00::/8"),
        ("broadcast", "255.255.255.255/32"),
        ("documentation", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20"),
        ("benchmarking", "198.18.0.0/15"),
        ("reserved", "192.0.0.0/24 192.88.99.0/24 240.0.0.0/4 100::/63 2001::/23 5f00::/16"),
        ("a tunnel", "2002::/16 64:ff9b:1::/48 ::/96"),
    ),
]
_UNICAST = ipaddress.ip_network("2000::/3")
# They carry an IPv4 address in their last 32 bits, and are judged as that.
_TRANSLATED = [ipaddress.ip_network(cidr) for cidr in ("::ffff:0:0/96", "64:ff9b::/96")]
# ISATAP: the interface's half starts with these 32 bits, and an IPv4 address follows.
_ISATAP = {0x0000_5EFE, 0x0200_5EFE}


def refusal(address: Address, *, private: bool = False) -> str | None:
    """Return what speaks against connecting to the address, None where nothing does.

    `private` allows loopback and private networks too; never link-local addresses, which
    are where clouds keep their machines' credentials.
    """
    judged = _carried(address)
    name, kind = _special(judged)
    if kind is None or (kind is Kind.OWN and private):
        return None
    carried = "" if judged is address else f", by way of {judged}"
    return f"{address} is {name}{carried}"


def _carried(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is None:
        for network in _TRANSLATED:
            if address in network:
                return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _special(address: Address) -> tuple[str, Kind | None]:
    for network, name, kind in _SPECIAL:
        if address.version == network.version and address in network:
            return name, kind
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None or address not in _UNICAST:
            return "not a public address", Kind.NEVER
        if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
            return "a tunnel", Kind.NEVER
    return "", None
