"""Objects in a directory and in an S3-compatible server: the same to whoever stores them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from moto.server import ThreadedMotoServer

from crewmesh.common.errors import NotFoundError, UnavailableError
from crewmesh_store.files.objects import Objects, S3Options

# More than is sent in one piece.
CONTENT = secrets.token_bytes(6 * 1024 * 1024)
BUCKET = "crewmesh"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Options]:
    """An S3-compatible server with a bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = S3Options(f"http://{host}:{port}", "us-east-1", "key", "secret")
    httpx2.put(f"{options.endpoint}/{BUCKET}").raise_for_status()
    yield options
    server.stop()


@pytest.fixture(params=["directory", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "directory":
        return Objects((tmp_path / "objects").as_uri())
    return Objects(f"s3://{BUCKET}/of-tests", request.getfixturevalue("s3"))


async def chunks(*, broken: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(CONTENT), 300_000):
        yield CONTENT[start : start + 300_000]
    if broken:
        raise ConnectionError("the client went away")


async def content_of(objects: Objects, key: str) -> bytes:
    return b"".join([chunk async for chunk in objects.read(key)])


async def test_what_is_written_is_read_until_it_is_deleted(objects: Objects) -> None:
    stored = await objects.write("org/datasets/one", chunks())
    assert stored.size_bytes == len(CONTENT)
    assert stored.sha256 == hashlib.sha256(CONTENT).digest()
    assert await content_of(objects, "org/datasets/one") == CONTENT
    for _ in range(2):
        await objects.delete("org/datasets/one")
    with pytest.raises(NotFoundError):
        await content_of(objects, "org/datasets/one")


async def test_nothing_stays_of_what_breaks_off(objects: Objects) -> None:
    with pytest.raises(ConnectionError):
        await objects.write("org/datasets/two", chunks(broken=True))
    with pytest.raises(NotFoundError):
        await content_of(objects, "org/datasets/two")


async def test_the_url_s_path_is_a_prefix_in_the_bucket(s3: S3Options) -> None:
    await Objects(f"s3://{BUCKET}/a/b", s3).write("key", chunks())
    listed = httpx2.get(f"{s3.endpoint}/{BUCKET}", params={"list-type": "2"}).text
    assert re.findall("<Key>(.*?)</Key>", listed) == ["a/b/key"]


async def test_a_server_that_is_down_is_said_to_be(s3: S3Options) -> None:
    nowhere = S3Options("http://127.0.0.1:9", s3.region, s3.access_key, s3.secret_key)
    objects = Objects(f"s3://{BUCKET}", nowhere)
    with pytest.raises(UnavailableError, match="can't be written"):
        await objects.write("key", chunks())


async def test_a_bucket_that_is_not_there_is_no_place_to_write_to(s3: S3Options) -> None:
    with pytest.raises(UnavailableError, match="can't be written"):
        await Objects("s3://nowhere", s3).write("key", chunks())
