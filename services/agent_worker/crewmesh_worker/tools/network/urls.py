"""URLs that tools are given: taken apart once, by the parser that the request uses too."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import idna
from yarl import URL

from crewmesh_worker.tools.network.addresses import Address
from crewmesh_worker.tools.network.errors import RefusedError

MAX_CHARACTERS = 2048
_PORTS = {"http": 80, "https": 443}
# Of the well-known ports, which belong to other protocols, those of the web.
_WELL_KNOWN, _WEB = 1024, (80, 443)
# Parsers differ over these, and what they differ over can't be checked.
_AMBIGUOUS = re.compile(r"[\x00-\x20\x7f\\]")
_AUTHORITY = re.compile(r"[^/?#]*//([^/?#]*)")
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True)
class Target:
    """A URL that is well-formed; whether it may be reached is another question.

    `host` is in lower case, in ASCII and without a dot at its end; `address` is set where it
    is an IP address.
    """

    url: URL
    host: str
    port: int
    address: Address | None = None

    @property
    def scheme(self) -> str:
        """Return http or https."""
        return self.url.scheme

    @property
    def origin(self) -> str:
        """Return scheme, host and port, as robots.txt is kept by."""
        return str(self.url.origin())


def parse_url(text: str) -> Target:
    """Return the target that a text names; raise RefusedError for anything doubtful."""
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise RefusedError(f"this URL is longer than {MAX_CHARACTERS} characters: {_shown(text)}")
    if _AMBIGUOUS.search(text):
        raise _refused(text, "it has spaces, backslashes or control characters: encode them")
    try:
        url = URL(text)
        return _target(url, url.port, text)
    except ValueError as error:
        raise _refused(text, str(error)) from error


def _target(url: URL, port: int | None, text: str) -> Target:
    if url.scheme not in _PORTS:
        raise _refused(text, "only http:// and https:// addresses can be")
    written = _AUTHORITY.match(text)
    if url.user is not None or url.password is not None or (written and "@" in written[1]):
        raise _refused(text, "user names and passwords in URLs are not allowed")
    if not url.raw_host:
        raise _refused(text, "it names no host")
    if port is None or port == 0 or (port < _WELL_KNOWN and port not in _WEB):
        raise _refused(text, f"port {port} isn't a web server's")
    host = _ascii_host(url.raw_host, text)
    address = _address(host, text)
    if address is not None:
        host = str(address)
    elif written and "[" in written[1]:
        raise _refused(text, "brackets are for IPv6 addresses")
    return Target(url.with_host(host).with_fragment(None), host, port, address)


def _ascii_host(raw: str, text: str) -> str:
    """Return the host as DNS is asked for it, whatever alphabet it is written in."""
    if ":" in raw:
        return raw.lower()
    host = raw.removesuffix(".")
    try:
        if host.endswith("."):
            raise idna.IDNAError("more than one dot at its end")
        # Also maps look-alikes: full-width digits and dots.
        return idna.encode(host, uts46=True, std3_rules=True).decode().lower()
    except UnicodeError as error:
        raise _refused(text, f"{raw!r} is no host name ({error})") from error


def _address(host: str, text: str) -> Address | None:
    """Return the IP address that a host is, if it is one, written in the usual way."""
    if ":" in host:
        if "%" in host:
            raise _refused(text, "addresses with a zone are not allowed")
        try:
            return ipaddress.IPv6Address(host)
        except ValueError as error:
            raise _refused(text, str(error)) from error
    try:
        return ipaddress.IPv4Address(host)
    except ValueError:
        # Browsers and C libraries read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses.
        last = host.rpartition(".")[2]
        if re.fullmatch(r"\d+|0x[0-9a-f]*", last):
            raise _refused(text, f"{host} is an odd way to write an IP address") from None
    return None


def _refused(text: str, why: str) -> RefusedError:
    return RefusedError(f"{_shown(text)} can't be reached: {why}")


def _shown(text: str) -> str:
    # A password that somebody has put into a URL is not repeated.
    text = re.sub(r"(?<=//)[^/?#]*@", "…@", text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
