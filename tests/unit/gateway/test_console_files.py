from __future__ import annotations

import gzip
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from crewmesh_gateway.browser.files import VIEWS, Console


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>", encoding="utf-8")
    (tmp_path / "assets" / "index-abc.js").write_text("let x = 1;" * 99, encoding="utf-8")
    (tmp_path / "assets" / "font-abc.woff2").write_bytes(b"\x00font")
    return tmp_path


@pytest.fixture
def client(directory: Path) -> httpx2.AsyncClient:
    app = FastAPI()
    console = Console.read(directory)
    assert console is not None
    console.add_to(app)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://mesh")


def test_where_it_was_not_built_there_is_none(tmp_path: Path) -> None:
    assert Console.read(tmp_path) is None


@pytest.mark.parametrize("view", VIEWS)
async def test_each_view_and_what_is_below_it_is_the_same_page(
    client: httpx2.AsyncClient, view: str
) -> None:
    for path in (f"/{view}", f"/{view}/a/b"):
        answer = await client.get(path)
        assert answer.text.startswith("<!doctype html>")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"


async def test_assets_are_kept_for_ever(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/assets/font-abc.woff2")
    assert answer.content == b"\x00font"
    assert answer.headers["content-type"] == "font/woff2"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_what_can_be_is_compressed_for_who_takes_it(client: httpx2.AsyncClient) -> None:
    async with client.stream("GET", "/assets/index-abc.js") as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == b"let x = 1;" * 99
    plain = await client.get("/assets/index-abc.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == b"let x = 1;" * 99


@pytest.mark.parametrize("name", ["nothing.js", "..%2Findex.html", "%2e%2e/index.html"])
async def test_nothing_else_is_an_asset(client: httpx2.AsyncClient, name: str) -> None:
    assert (await client.get(f"/assets/{name}")).status_code == 404


async def test_its_pages_load_nothing_from_elsewhere_and_are_framed_by_nobody(
    client: httpx2.AsyncClient,
) -> None:
    for path in ("/runs", "/assets/index-abc.js"):
        headers = (await client.get(path)).headers
        policy = dict(
            directive.split(" ", 1) for directive in headers["content-security-policy"].split("; ")
        )
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert set(policy.values()) == {"'none'", "'self'"}
