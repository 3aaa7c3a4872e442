"""The client's limits, and what it says when something is wrong."""

from __future__ import annotations

import asyncio
import gzip
import re
import tracemalloc
from typing import Any

import pytest
from aiohttp import web

from crewmesh_worker.tools.network.errors import UnreachableError, UnusableError
from crewmesh_worker.tools.network.limits import MEBIBYTE

from .conftest import Handler, MakeClient, Names, says, serving, together


def streams(*chunks: bytes, **options: Any) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(**options)
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return handle


async def test_an_answer_says_what_it_is(make_client: MakeClient) -> None:
    page = says("grüße", content_type="text/html", charset="iso-8859-1", status=404)
    async with serving({"/": page}) as site:
        body = await make_client().get(site.url(), robots=False)
        assert (body.status, body.media_type, body.text) == (404, "text/html", "grüße")


async def test_an_encoding_that_does_not_exist_is_read_as_utf_8(make_client: MakeClient) -> None:
    page = streams("grüße".encode(), headers={"Content-Type": "text/html; charset=klingon"})
    async with serving({"/": page}) as site:
        assert (await make_client().get(site.url(), robots=False)).text == "grüße"


async def test_a_body_that_is_too_large_is_not_read(make_client: MakeClient) -> None:
    async with serving(
        {"/declared": says("x" * 2000), "/chunked": streams(*[b"x" * 100] * 20)}
    ) as site:
        client = make_client(page_bytes=1000)
        for path in ("/declared", "/chunked"):
            with pytest.raises(UnusableError, match="larger than 1,000 bytes"):
                await client.get(site.url(path), robots=False)
        assert (
            len((await client.get(site.url("/chunked"), robots=False, max_bytes=2000)).content)
            == 2000
        )


async def test_a_small_body_that_grows_when_unpacked_is_stopped_and_never_held_whole(
    make_client: MakeClient,
) -> None:
    bomb = gzip.compress(bytes(256 * MEBIBYTE))
    assert len(bomb) < MEBIBYTE
    page = streams(bomb, headers={"Content-Type": "text/html", "Content-Encoding": "gzip"})
    async with serving({"/": page}) as site:
        client = make_client(page_bytes=4 * MEBIBYTE)
        tracemalloc.start()
        try:
            with pytest.raises(UnusableError, match="larger than"):
                await client.get(site.url(), robots=False)
            assert tracemalloc.get_traced_memory()[1] < 32 * MEBIBYTE
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("types", [("text/html",), ("text/plain", "application/json")])
async def test_a_type_that_is_of_no_use_is_refused_before_it_is_read(
    make_client: MakeClient, types: tuple[str, ...]
) -> None:
    async with serving({"/": says("%PDF", content_type="application/pdf")}) as site:
        with pytest.raises(UnusableError, match=f"application/pdf.*readable are: {types[0]}"):
            await make_client().get(site.url(), types=types, robots=False)
        assert (await make_client().get(site.url(), robots=False)).media_type == "application/pdf"
        assert site.requests[0].headers["Accept"] == ", ".join(types)


async def test_a_server_that_does_not_answer_is_given_up(make_client: MakeClient) -> None:
    never = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    async def dripping(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not never.is_set():
            await response.write(b"x")
            await asyncio.sleep(0.05)
        return response

    async with serving({"/silent": silent, "/dripping": dripping}) as site:
        client = make_client(total_seconds=0.3)
        for path in ("/silent", "/dripping"):
            with pytest.raises(UnreachableError, match="did not answer completely within"):
                await client.get(site.url(path), robots=False)
        never.set()


async def test_what_cannot_be_reached_is_said_with_what_may_be_wrong(
    make_client: MakeClient,
) -> None:
    async with serving({}) as site:
        gone = site.url()
    client = make_client(names=Names({}))
    with pytest.raises(
        UnreachableError, match=r"127\.0\.0\.1 can't be reached: it is down, or this"
    ):
        await client.get(gone, robots=False)
    with pytest.raises(UnreachableError, match=r"nowhere\.test can't be found: .*no network"):
        await client.get("http://nowhere.test/", robots=False)


async def test_what_is_not_http_is_said_to_be_that(make_client: MakeClient) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example.com ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises((UnusableError, UnreachableError), match=r"HTTP|broke"):
            await make_client().get(f"http://127.0.0.1:{port}/", robots=False)


async def test_no_more_requests_run_at_once_than_the_limit_allows(
    make_client: MakeClient,
) -> None:
    running = most = 0
    full = asyncio.Event()

    async def count(_: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()
        running -= 1
        return web.Response()

    async with serving({"/": count}) as site:
        client = make_client(concurrent=3)
        answers = await together(*[client.get(site.url(), robots=False) for _ in range(9)])
        assert [body.status for body in answers] == [200] * 9
        assert most == 3


async def test_a_host_is_asked_no_faster_than_the_limit_allows(make_client: MakeClient) -> None:
    async with serving({"/": says()}) as site:
        client = make_client(host_rate=10.0)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await together(*[client.get(site.url(), robots=False) for _ in range(15)])
        # Ten at once, then one each tenth of a second.
        assert loop.time() - began >= 0.5
        assert len(site.requests) == 15


async def test_an_api_that_answers_no_json_is_not_taken_for_one(make_client: MakeClient) -> None:
    handlers = {"/json": says('{"a": 1}'), "/html": says("<p>Bad gateway", status=502)}
    async with serving(handlers) as site:
        client = make_client()
        assert await client.get_json(site.url("/json")) == (200, {"a": 1})
        with pytest.raises(UnusableError, match=re.escape("answered 502 with text/plain instead")):
            await client.get_json(site.url("/html"))
        assert "/robots.txt" not in site.paths
