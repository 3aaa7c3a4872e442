"""Bytes on their way out, never to be rendered as active content."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol, TypeVar
from urllib.parse import quote

import grpc

from crewmesh.common.errors import DeadlineError
from crewmesh_gateway.relay import CALL_SECONDS, Relay, messages
from crewmesh_gateway.responses import ByteStream

_DOWNLOAD_SECONDS = 3600
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(; ?charset=[a-z0-9-]+)?", re.IGNORECASE)


class _Header(Protocol):
    """What datasets and artifacts tell of themselves before their bytes."""

    @property
    def name(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...


class _Piece(Protocol):
    @property
    def header(self) -> _Header: ...
    @property
    def chunk(self) -> bytes: ...


Ask = TypeVar("Ask")
Piece = TypeVar("Piece", bound=_Piece)


async def answer_file(
    relay: Relay, method: grpc.aio.UnaryStreamMultiCallable[Ask, Piece], ask: Ask
) -> ByteStream:
    """Return a file as an attachment, with the media type that it was stored with.

    Raises what the store raises before the first byte; a later failure cuts the answer
    short of its Content-Length.
    """
    call = relay.stream(method, ask, seconds=_DOWNLOAD_SECONDS)
    pieces = messages(call)
    try:
        async with asyncio.timeout(CALL_SECONDS):
            header = (await anext(pieces)).header
    except TimeoutError:
        raise DeadlineError("the store did not begin to send the file") from None

    async def close() -> None:
        call.cancel()

    return ByteStream(
        _chunks(pieces),
        close,
        media_type=header.media_type
        if _MEDIA_TYPE.fullmatch(header.media_type)
        else "application/octet-stream",
        headers={
            "Content-Length": str(header.size_bytes),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(header.name, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "private",
        },
    )


async def _chunks(pieces: AsyncIterator[Piece]) -> AsyncGenerator[bytes]:
    async for piece in pieces:
        yield piece.chunk
