"""What a tenant's policy lets runs reach, and which redirects are followed."""

from __future__ import annotations

from typing import Any

import pytest

from crewmesh_worker.tools.network.errors import RefusedError, UnusableError
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.network.redirects import MAX_REDIRECTS, is_redirect, next_target
from crewmesh_worker.tools.network.urls import parse_url
from crewmesh_worker.tools.registry import ToolError

PUBLIC = NetworkPolicy()
PRIVATE = NetworkPolicy(private=True)


def allows(policy: NetworkPolicy, url: str) -> bool:
    try:
        policy.check_target(parse_url(url))
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize(
    ("allowed", "url", "expected"),
    [
        (None, "https://example.com/", True),
        (None, "https://anything.else.org/", True),
        ([], "https://example.com/", False),
        (["example.com"], "https://example.com/", True),
        (["example.com"], "https://EXAMPLE.com./", True),
        (["Example.COM."], "https://example.com/", True),
        (["example.com"], "http://example.com:8080/", True),
        (["example.com"], "https://www.example.com/", False),
        (["example.com"], "https://example.com.evil.org/", False),
        (["example.com"], "https://notexample.com/", False),
        (["*.example.com"], "https://www.example.com/", True),
        (["*.example.com"], "https://a.b.example.com/", True),
        (["*.example.com"], "https://example.com/", False),
        (["*.example.com"], "https://notexample.com/", False),
        (["*.example.com", "example.com"], "https://example.com/", True),
        (["bücher.example"], "https://xn--bcher-kva.example/", True),
        (["xn--bcher-kva.example"], "https://bücher.example/", True),
        (["93.184.216.34"], "http://93.184.216.34/", True),
        (["93.184.216.34"], "http://93.184.216.35/", False),
        (["[2606:4700::1]"], "http://[2606:4700::1]/", True),
        (["127.0.0.1"], "http://127.0.0.1/", False),
        (["localhost"], "http://localhost/", False),
    ],
)
def test_the_list_of_allowed_hosts_says_which_public_hosts_are_reached(
    allowed: list[str] | None, url: str, expected: bool
) -> None:
    assert allows(NetworkPolicy.of({"hosts": {"allowed": allowed}}), url) is expected


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "http://LOCALHOST.:8080/",
        "http://db/",
        "http://foo.localhost/",
        "http://printer.local/",
        "http://metadata.google.internal/",
        "http://wiki.intranet/",
        "http://router.lan/",
        "http://nas.home.arpa/",
        "http://10.0.0.5/",
        "http://[::1]/",
    ],
)
def test_names_of_private_networks_are_refused_before_anybody_is_asked_for_them(url: str) -> None:
    assert not allows(PUBLIC, url)
    assert allows(PRIVATE, url)


@pytest.mark.parametrize("url", ["http://169.254.169.254/", "http://[fd00:ec2::254]/latest"])
def test_a_private_policy_does_not_open_a_clouds_metadata(url: str) -> None:
    assert not allows(PRIVATE, url)


@pytest.mark.parametrize(
    ("policy", "operator", "private"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"hosts": None}, True, True),
        ({"hosts": {"private": True}}, False, False),
        ({"hosts": {"private": True}}, True, True),
        ({"hosts": {"private": False}}, True, False),
        ({"hosts": {"private": False}}, False, False),
    ],
)
def test_a_tenant_gets_into_private_networks_only_where_the_operator_agrees(
    policy: dict[str, Any], operator: bool, private: bool
) -> None:
    assert NetworkPolicy.of(policy, private_network=operator).private is private


@pytest.mark.parametrize(
    "hosts",
    ["all", ["example.com"], {"allowed": "example.com"}, {"allowed": [1]}, {"private": "no"}],
)
def test_a_policy_that_cannot_be_understood_allows_nothing(hosts: Any) -> None:
    with pytest.raises(ToolError, match="an owner must correct it"):
        NetworkPolicy.of({"hosts": hosts}, private_network=True)


HTTPS, HTTP = "https://example.com/a/b", "http://example.com/a/b"
LISTED = NetworkPolicy(allowed=("example.com",))


@pytest.mark.parametrize(
    ("start", "location", "policy", "leads_to"),
    [
        (HTTPS, "/c", PUBLIC, "https://example.com/c"),
        (HTTPS, "c", PUBLIC, "https://example.com/a/c"),
        (HTTPS, "?q=1", PUBLIC, "https://example.com/a/b?q=1"),
        (HTTPS, "//other.org/x", PUBLIC, "https://other.org/x"),
        (HTTPS, " https://other.org/x#part ", PUBLIC, "https://other.org/x"),
        (HTTPS, "/with space", PUBLIC, "https://example.com/with%20space"),
        (HTTP, "https://example.com/", PUBLIC, "https://example.com/"),
        (HTTP, "http://other.org/", PUBLIC, "http://other.org/"),
        (HTTPS, "https://example.com/x", LISTED, "https://example.com/x"),
        (HTTP, "http://127.0.0.1:9000/", PRIVATE, "http://127.0.0.1:9000/"),
    ],
)
def test_a_redirect_to_what_may_be_reached_is_followed(
    start: str, location: str, policy: NetworkPolicy, leads_to: str
) -> None:
    assert str(next_target(parse_url(start), location, 0, policy).url) == leads_to


@pytest.mark.parametrize(
    ("start", "location", "policy", "why"),
    [
        (HTTPS, "http://example.com/", PUBLIC, "not encrypted"),
        (HTTPS, "http://127.0.0.1/", PUBLIC, "loopback"),
        (HTTP, "http://127.0.0.1/", PUBLIC, "loopback"),
        (HTTP, "http://[::ffff:127.0.0.1]/", PUBLIC, "loopback"),
        (HTTP, "http://169.254.169.254/latest/meta-data/", PUBLIC, "metadata"),
        (HTTP, "http://169.254.169.254/latest/meta-data/", PRIVATE, "metadata"),
        (HTTP, "//169.254.169.254/latest/meta-data/", PRIVATE, "metadata"),
        (HTTP, "http://metadata.google.internal/", PUBLIC, "private network"),
        (HTTP, "http://localhost:8080/admin", PUBLIC, "private network"),
        (HTTP, "http://2130706433/", PUBLIC, "odd way"),
        (HTTP, "http://user:pw@example.com/", PUBLIC, "user names"),
        (HTTP, "file:///etc/passwd", PUBLIC, "only http"),
        (HTTP, "gopher://example.com/", PUBLIC, "only http"),
        (HTTP, "javascript:alert(1)", PUBLIC, "only http"),
        (HTTP, "http://example.com:22/", PUBLIC, "port 22"),
        (HTTP, "http://[::1", PUBLIC, "redirects elsewhere"),
        (HTTPS, "https://other.org/", LISTED, "not among the hosts"),
        (HTTPS, "https://www.example.com/", LISTED, "not among the hosts"),
    ],
)
def test_a_redirect_to_anything_else_is_not(
    start: str, location: str, policy: NetworkPolicy, why: str
) -> None:
    with pytest.raises(RefusedError, match=why) as raised:
        next_target(parse_url(start), location, 0, policy)
    assert start in str(raised.value)


def test_redirects_end() -> None:
    current = parse_url(HTTPS)
    assert next_target(current, "/c", MAX_REDIRECTS - 1, PUBLIC).url.path == "/c"
    with pytest.raises(UnusableError, match=f"more than {MAX_REDIRECTS} times"):
        next_target(current, "/c", MAX_REDIRECTS, PUBLIC)


@pytest.mark.parametrize(
    ("status", "location", "expected"),
    [
        (301, "/x", True), (302, "/x", True), (303, "/x", True), (307, "/x", True),
        (308, "/x", True), (300, "/x", False), (304, "/x", False), (305, "/x", False),
        (200, "/x", False), (404, "/x", False), (302, None, False), (302, "", False),
    ],
)  # fmt: skip
def test_only_an_answer_that_sends_elsewhere_is_a_redirect(
    status: int, location: str | None, expected: bool
) -> None:
    assert is_redirect(status, location) is expected
