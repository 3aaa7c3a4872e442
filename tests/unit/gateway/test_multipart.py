from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request

from crewmesh_gateway.multipart import Part, read_parts

CONTENT = b"a,b\r\n1,2\r\n--edge\r\n\r\n--ed\r\n--\r\n" + bytes(range(256))
BODY = (
    b"--edge7\r\n"
    b'Content-Disposition: form-data; name="name"\r\n\r\n'
    b"sales\r\n"
    b"--edge7\r\n"
    b'Content-Disposition: form-data; name="file"; filename="a.csv"\r\n'
    b"Content-Type: text/csv; charset=utf-8\r\n\r\n" + CONTENT + b"\r\n--edge7--\r\n"
)


def request_of(chunks: list[bytes]) -> Request:
    async def receive() -> dict[str, Any]:
        chunk = chunks.pop(0) if chunks else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    headers = [(b"content-type", b"multipart/form-data; boundary=edge7")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def read_form(chunks: list[bytes], max_bytes: int = 10_000) -> list[tuple[Part, bytes]]:
    parts: list[tuple[Part, bytes]] = []
    async for item in read_parts(request_of(chunks), max_bytes):
        if isinstance(item, Part):
            parts.append((item, b""))
        else:
            parts[-1] = (parts[-1][0], parts[-1][1] + item)
    return parts


@given(st.sets(st.integers(1, len(BODY) - 1)))
async def test_a_form_is_the_same_however_it_arrives(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(BODY)]
    chunks = [BODY[start:end] for start, end in pairwise(edges)]

    (name, sales), (file, content) = await read_form(chunks)

    assert (name.name, name.filename, sales) == ("name", None, b"sales")
    assert (file.name, file.filename, file.media_type) == ("file", "a.csv", "text/csv")
    assert content == CONTENT


async def test_a_form_that_breaks_off_anywhere_is_refused() -> None:
    for end in range(len(BODY) - len(b"--\r\n")):
        with pytest.raises(HTTPException) as refusal:
            await read_form([BODY[:end]])
        assert refusal.value.status_code == 400


async def test_a_form_that_is_too_long_is_refused_where_it_is() -> None:
    await read_form([BODY], len(BODY))
    with pytest.raises(HTTPException) as refusal:
        await read_form([BODY], len(BODY) - 1)
    assert refusal.value.status_code == 413
