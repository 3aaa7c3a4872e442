"""What hosts ask of programs is done."""

from __future__ import annotations

import asyncio

import pytest

from crewmesh_worker.tools.network.errors import RefusedError, UnreachableError

from .conftest import MakeClient, Names, says, sends_to, serving, together

FOR_ALL = "User-agent: *\nDisallow: /private\nAllow: /private/but-this\n"
FOR_US = "User-agent: *\nDisallow: /\n\nUser-agent: crewmesh\nDisallow: /own\n"


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        (FOR_ALL, "/", True),
        (FOR_ALL, "/private/x", False),
        (FOR_ALL, "/private/but-this", True),
        (FOR_US, "/private", True),
        (FOR_US, "/own", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/a.pdf", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/a.pdf.html", True),
        ("", "/", True),
        ("<html>not rules</html>", "/", True),
    ],
)
async def test_a_page_is_fetched_when_the_hosts_rules_allow_it(
    make_client: MakeClient, rules: str, path: str, allowed: bool
) -> None:
    async with serving({"/robots.txt": says(rules), path: says("page")}) as site:
        client = make_client()
        if allowed:
            assert (await client.get(site.url(path))).text == "page"
        else:
            with pytest.raises(RefusedError, match=r"may not be fetched by programs.*robots\.txt"):
                await client.get(site.url(path))
            assert site.paths == ["/robots.txt"]


@pytest.mark.parametrize(
    ("status", "allowed"), [(404, True), (403, True), (500, False), (503, False)]
)
async def test_rules_that_are_missing_allow_all_and_rules_that_are_broken_nothing(
    make_client: MakeClient, status: int, allowed: bool
) -> None:
    async with serving({"/robots.txt": says(status=status), "/": says("page")}) as site:
        if allowed:
            assert (await make_client().get(site.url())).text == "page"
        else:
            with pytest.raises(RefusedError, match=f"answered {status}.*try again later"):
                await make_client().get(site.url())


async def test_rules_are_read_once_for_each_host_however_many_pages_are_fetched(
    make_client: MakeClient,
) -> None:
    handlers = {"/robots.txt": says(FOR_ALL), "/": says("page")}
    async with serving(handlers) as site, serving(handlers) as other:
        client = make_client()
        await together(*[client.get(s.url()) for s in (site, other) for _ in range(10)])
        assert site.paths.count("/robots.txt") == other.paths.count("/robots.txt") == 1
        assert site.paths.count("/") == other.paths.count("/") == 10


async def test_a_redirect_to_another_host_asks_for_that_hosts_rules(
    make_client: MakeClient,
) -> None:
    async with serving({"/robots.txt": says(FOR_ALL), "/private": says()}) as other:
        async with serving({"/": sends_to(other.url("/private"))}) as site:
            with pytest.raises(RefusedError, match="may not be fetched by programs"):
                await make_client().get(site.url())
        assert other.paths == ["/robots.txt"]


async def test_the_pause_that_a_host_wants_is_kept(make_client: MakeClient) -> None:
    rules = "User-agent: *\nCrawl-delay: 0.2\n"
    async with serving({"/robots.txt": says(rules), "/": says()}) as site:
        client = make_client()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await together(*[client.get(site.url()) for _ in range(3)])
        assert loop.time() - began >= 0.4
        assert site.paths.count("/") == 3


@pytest.mark.parametrize("rule", ["Crawl-delay: 60", "Request-rate: 1/60"])
async def test_a_pause_that_no_run_can_keep_is_a_refusal(
    make_client: MakeClient, rule: str
) -> None:
    async with serving({"/robots.txt": says(f"User-agent: *\n{rule}\n")}) as site:
        with pytest.raises(RefusedError, match="asks for 60 s between requests"):
            await make_client().get(site.url())


async def test_rules_of_any_length_are_read_as_far_as_a_reader_must(
    make_client: MakeClient,
) -> None:
    rules = FOR_ALL + "# padding\n" * 100_000
    async with serving({"/robots.txt": says(rules), "/private": says()}) as site:
        with pytest.raises(RefusedError, match="may not be fetched"):
            await make_client().get(site.url("/private"))


async def test_a_host_that_is_not_there_is_said_to_be_that_not_to_forbid_anything(
    make_client: MakeClient,
) -> None:
    with pytest.raises(UnreachableError, match="can't be found"):
        await make_client(names=Names({})).get("http://nowhere.test/")
