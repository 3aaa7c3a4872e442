"""The client against names, redirects and servers that want it elsewhere."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme

from crewmesh_worker.tools.network.errors import RefusedError, UnreachableError
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.network.resolver import checked_sockets

from .conftest import LOCAL, MakeClient, Names, says, sends_to, serving

METADATA = "169.254.169.254"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (["127.0.0.1"], "loopback"),
        (["::1"], "loopback"),
        (["10.1.2.3"], "private"),
        ([METADATA], "metadata"),
        (["93.184.216.34", "127.0.0.1"], "loopback"),
        (["::ffff:127.0.0.1"], "loopback"),
        (["64:ff9b::a00:1"], "private"),
    ],
)
async def test_a_public_name_with_a_private_address_is_not_connected_to(
    make_client: MakeClient, answer: list[str], why: str
) -> None:
    async with serving({"/": says()}) as site:
        names = Names({"rebind.example": [answer]})
        client = make_client(NetworkPolicy(), names)
        with pytest.raises(RefusedError, match=f"rebind.example can't be reached: .* is .*{why}"):
            await client.get(site.url(host="rebind.example"), robots=False)
        assert site.requests == []


async def test_the_address_that_was_checked_is_the_one_that_is_used(
    make_client: MakeClient,
) -> None:
    async with serving({"/": says("checked")}) as site:
        async with serving({"/": says("another")}, "127.0.0.2", site.port) as other:
            names = Names({"rebind.test": [["127.0.0.1"], ["127.0.0.2"]]})
            body = await make_client(names=names).get(site.url(host="rebind.test"), robots=False)
            assert body.text == "checked"
            assert names.asked == {"rebind.test": 1}
            assert other.requests == []
        assert site.requests[0].headers["Host"] == f"rebind.test:{site.port}"


async def test_a_name_that_changes_between_two_requests_is_checked_again(
    make_client: MakeClient,
) -> None:
    async with serving({"/": says(headers={"Connection": "close"})}) as site:
        names = Names({"rebind.test": [["127.0.0.1"], [METADATA]]})
        client = make_client(names=names)
        url = site.url(host="rebind.test")
        assert (await client.get(url, robots=False)).status == 200
        with pytest.raises(RefusedError, match="metadata"):
            await client.get(url, robots=False)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        (f"http://{METADATA}/latest/meta-data/", "metadata"),
        ("http://metadata.test/latest/", "metadata"),
        ("http://[::ffff:a9fe:a9fe]/", "metadata"),
        ("http://other.test:{port}/inside", "not among the hosts"),
        ("ftp://site.test/", "only http"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_url(
    make_client: MakeClient, location: str, why: str
) -> None:
    handlers = {"/": sends_to(location), "/inside": says("secret")}
    async with serving(handlers) as site:
        names = Names({"site.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]],
                       "metadata.test": [[METADATA]]})  # fmt: skip
        hosts = ("site.test", METADATA, "metadata.test", "::ffff:a9fe:a9fe")
        client = make_client(NetworkPolicy(hosts, private=True), names)
        with pytest.raises(RefusedError, match=why):
            await client.get(site.url(host="site.test"), robots=False)
        assert site.paths == ["/"]


async def test_redirects_are_followed_to_their_end_and_no_further(
    make_client: MakeClient,
) -> None:
    handlers = {
        "/": sends_to("/one"), "/one": sends_to("two", 308), "/two": says("here"),
        "/loop": sends_to("/loop"),
    }  # fmt: skip
    async with serving(handlers) as site:
        client = make_client()
        body = await client.get(site.url(), robots=False)
        assert (body.text, body.url) == ("here", site.url("/two"))
        site.requests.clear()
        with pytest.raises(Exception, match="more than 5 times"):
            await client.get(site.url("/loop"), robots=False)
        assert site.paths == ["/loop"] * 6


async def test_nothing_of_one_host_is_shown_to_another(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    handlers = {"/": says(headers={"Set-Cookie": "id=1"}), "/next": says()}
    async with serving(handlers) as site:
        client = make_client()
        await client.get(site.url(), robots=False)
        await client.get(site.url("/next"), robots=False)
        headers = site.requests[1].headers
        assert headers["User-Agent"] == "Crewmesh/1 (+tests)"
        assert not {"Cookie", "Authorization", "Referer"} & set(headers)


@pytest.mark.parametrize("address", ["127.0.0.1", METADATA, "10.0.0.1"])
def test_no_socket_is_made_for_an_address_however_it_was_come_by(address: str) -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 80))
    with pytest.raises(RefusedError, match=address):
        checked_sockets(NetworkPolicy())(info)


def test_a_socket_is_made_for_an_address_that_is_allowed() -> None:
    info = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 80, 0, 0))
    made = checked_sockets(LOCAL)(info)
    assert (made.family, made.type) == (socket.AF_INET6, socket.SOCK_STREAM)
    made.close()


async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(
    make_client: MakeClient,
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with serving({"/": says()}, tls=tls) as site:
        with pytest.raises(UnreachableError, match="no valid certificate"):
            await make_client().get(site.url(scheme="https"), robots=False)
        assert site.requests == []
