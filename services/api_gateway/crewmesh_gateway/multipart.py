"""multipart/form-data as it arrives, so that a file is never held whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from crewmesh_gateway.bodies import refuse_declared_size, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_CHUNK_SECONDS = 30


@dataclass
class Part:
    """The head of one part; its data follows it."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    # None where the part is a plain field.
    filename: str | None = None

    @property
    def media_type(self) -> str:
        """Return the declared media type without parameters, in lower case."""
        media_type, _ = parse_options_header(self.headers.get(b"content-type"))
        return media_type.decode("latin-1")


async def read_parts(request: Request, max_bytes: int) -> AsyncIterator[Part | bytes]:
    """Yield each part's head and then its data in pieces.

    Raises HTTPException: 415 for another kind of body, 400 for a broken one, 413 for one
    of more than `max_bytes`, 408 for one that stalls.
    """
    refuse_declared_size(request, max_bytes)
    collector = _Collector()
    boundary = _boundary(request)
    chunks = aiter(request.stream())
    size = 0
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        while True:
            async with asyncio.timeout(_CHUNK_SECONDS):
                chunk = await anext(chunks, b"")
            if not chunk:
                break
            size += len(chunk)
            if size > max_bytes:
                raise too_large(max_bytes)
            parser.write(chunk)
            for item in collector.take():
                yield item
        parser.finalize()
    except TimeoutError:
        raise HTTPException(408, f"nothing more of the body came for {_CHUNK_SECONDS} s") from None
    except FormParserError as error:
        raise HTTPException(400, f"the body is not valid multipart/form-data: {error}") from None
    if not collector.complete:
        raise HTTPException(400, "the body ends before its last boundary")


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        raise HTTPException(415, "the body must be multipart/form-data, with the file as `file`")
    if not options.get(b"boundary"):
        raise HTTPException(400, "the header Content-Type names no boundary")
    return options[b"boundary"]


class _Collector:
    """Gathers what the parser found in the chunk that it was just given."""

    def __init__(self) -> None:
        self.complete = False
        self._found: list[Part | bytes] = []
        self._part = Part()
        self._header_name = b""
        self._header_value = b""

    def callbacks(self) -> MultipartCallbacks:
        """Return the parser's callbacks."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_end": self._end,
        }

    def take(self) -> list[Part | bytes]:
        """Return what was found since the last call."""
        found, self._found = self._found, []
        return found

    def _begin_part(self) -> None:
        self._part = Part()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._part.headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        disposition = self._part.headers.get(b"content-disposition")
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            raise HTTPException(400, "a part has no name in its Content-Disposition")
        try:
            self._part.name = options[b"name"].decode()
            if b"filename" in options:
                self._part.filename = options[b"filename"].decode()
        except UnicodeDecodeError:
            raise HTTPException(400, "a part's name is not UTF-8") from None
        self._found.append(self._part)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(data[start:end])

    def _end(self) -> None:
        self.complete = True
