"""URLs: what is understood, and what is refused for being doubtful."""
# ruff: noqa: RUF001 - look-alike letters are what is tested

from __future__ import annotations

import ipaddress

import pytest

from crewmesh_worker.tools.network.errors import RefusedError
from crewmesh_worker.tools.network.urls import MAX_CHARACTERS, parse_url

# Python 3.13 writes it another way.
MAPPED = str(ipaddress.IPv6Address("::ffff:7f00:1"))
UNDERSTOOD = [
    ("http://example.com", "http://example.com/", "example.com", 80),
    ("  https://example.com/a?b=c#d \n", "https://example.com/a?b=c", "example.com", 443),
    ("HTTPS://Example.COM/Path", "https://example.com/Path", "example.com", 443),
    ("https://example.com.", "https://example.com/", "example.com", 443),
    ("https://example.com:8443/x", "https://example.com:8443/x", "example.com", 8443),
    ("http://example.com:443", "http://example.com:443/", "example.com", 443),
    ("https://bücher.example/", "https://bücher.example/", "xn--bcher-kva.example", 443),
    ("https://xn--bcher-kva.example/", "https://bücher.example/", "xn--bcher-kva.example", 443),
    ("https://ＥＸＡＭＰＬＥ.com/", "https://example.com/", "example.com", 443),
    ("https://example。com/", "https://example.com/", "example.com", 443),
    ("http://93.184.216.34/", "http://93.184.216.34/", "93.184.216.34", 80),
    ("http://127.0.0.1/", "http://127.0.0.1/", "127.0.0.1", 80),
    ("http://127.0.0.1./", "http://127.0.0.1/", "127.0.0.1", 80),
    ("http://１２７.0.0.1/", "http://127.0.0.1/", "127.0.0.1", 80),
    ("http://①②⑦.0.0.1/", "http://127.0.0.1/", "127.0.0.1", 80),
    ("http://[::1]:8080/", "http://[::1]:8080/", "::1", 8080),
    ("http://[::ffff:7f00:1]/", f"http://[{MAPPED}]/", MAPPED, 80),
    ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]/", "::1", 80),
    ("https://example.com/%2e%2e/a%20b", "https://example.com/a b",
     "example.com", 443),
    ("https://example.com/@user", "https://example.com/@user", "example.com", 443),
    ("https://example.com/?next=http://127.0.0.1", "https://example.com/?next=http://127.0.0.1",
     "example.com", 443),
]  # fmt: skip
REFUSED = [
    # Not the web.
    ("ftp://example.com/", "only http"),
    ("file:///etc/passwd", "only http"),
    ("gopher://127.0.0.1:6379/_x", "only http"),
    ("javascript:alert(1)", "only http"),
    ("data:text/html,hi", "only http"),
    ("//example.com/", "only http"),
    ("example.com", "only http"),
    ("", "only http"),
    ("http://", "host"),
    ("http:///path", "host"),
    ("http:example.com", ""),
    # Credentials, and what looks like them.
    ("http://user@example.com/", "user names"),
    ("http://user:secret@example.com/", "user names"),
    ("http://example.com@127.0.0.1/", "user names"),
    ("http://127.0.0.1:80@example.com/", "user names"),
    ("http://@example.com/", "user names"),
    ("http://:@example.com/", "user names"),
    # IP addresses, written so that some parsers miss them.
    ("http://2130706433/", "odd way"),
    ("http://017700000001/", "odd way"),
    ("http://0x7f000001/", "odd way"),
    ("http://0x7f.0.0.1/", "odd way"),
    ("http://0x7F.1/", "odd way"),
    ("http://127.1/", "odd way"),
    ("http://127.0.1/", "odd way"),
    ("http://0177.0.0.1/", "odd way"),
    ("http://127.0.0.01/", "odd way"),
    ("http://127.0.0.0x1/", "odd way"),
    ("http://127.0.0.1.1/", "odd way"),
    ("http://256.256.256.256/", "odd way"),
    ("http://0/", "odd way"),
    ("http://0x/", "odd way"),
    ("http://example.123/", "odd way"),
    ("http://[::1%25eth0]/", ""),
    ("http://[fe80::1%eth0]/", ""),
    ("http://[::1/", ""),
    ("http://[127.0.0.1]/", ""),
    ("http://[v1.x]/", ""),
    # Hosts that aren't.
    ("http://exa mple.com/", "spaces"),
    ("http://example.com\\@127.0.0.1/", "backslashes"),
    ("http:\\\\127.0.0.1\\", "backslashes"),
    ("http://example.com/\r\nHost: x", "control characters"),
    ("http://example.com\t.evil.com/", "control characters"),
    ("http://example.com\x00.evil.com/", "control characters"),
    ("http://%31%32%37.0.0.1/", ""),
    ("http://127%2e0%2e0%2e1/", ""),
    ("http://example..com/", "no host name"),
    ("http://example.com../", ""),
    ("http://.example.com/", "no host name"),
    ("http://./", ""),
    ("http://-example.com/", "no host name"),
    ("http://exa_mple.com/", "no host name"),
    ("http://" + "a" * 64 + ".com/", "no host name"),
    ("http://xn--zzzzzz99999.com/", ""),
    ("http://exam\u00adple\u2028.com/", ""),
    # Ports of other protocols.
    ("http://example.com:22/", "port 22"),
    ("http://example.com:25/", "port 25"),
    ("http://example.com:0/", "port 0"),
    ("http://example.com:65536/", ""),
    ("http://example.com:-1/", ""),
    ("http://example.com:http/", ""),
    ("https://example.com/" + "a" * MAX_CHARACTERS, "longer than"),
]


@pytest.mark.parametrize(("text", "shown", "host", "port"), UNDERSTOOD)
def test_a_url_is_understood_in_one_way(text: str, shown: str, host: str, port: int) -> None:
    target = parse_url(text)
    assert (target.host, target.port) == (host, port)
    assert target.url.raw_host == host, "what is checked is what is asked for"
    assert target.url.human_repr() == shown


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_a_doubtful_url_is_refused(text: str, why: str) -> None:
    with pytest.raises(RefusedError) as raised:
        parse_url(text)
    assert why in str(raised.value)


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(RefusedError) as raised:
        parse_url("https://anna:hunter2@example.com/private")
    assert "hunter2" not in str(raised.value)
    assert "example.com/private" in str(raised.value)
