"""Answers that aren't problems: JSON, and streams of bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send


class Json(Response):
    """An answer whose content is encoded by orjson; `orjson.Fragment` goes in as it is."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the content."""
        return orjson.dumps(content)


class ByteStream(StreamingResponse):
    """A stream after which `close` is called, however it ends, even before its first byte."""

    def __init__(
        self,
        source: AsyncGenerator[bytes],
        close: Callable[[], Awaitable[None]],
        *,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(source, headers=headers, media_type=media_type)
        self._source = source
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._source.aclose()
            await self._close()
