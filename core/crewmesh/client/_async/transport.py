"""How the client sends calls: over one pool of connections, again where that does no harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx2

from crewmesh.client import protocol
from crewmesh.client.errors import ApiError, MeshError
from crewmesh.client.models import Answer, RunEvent, parse
from crewmesh.client.protocol import Options, Request, StreamCursor


class AsyncTransport:
    """Sends requests to one mesh, and parses what it answers.

    `clock_offset` is by how many seconds the mesh's clock is ahead of ours; 0 while it can't
    be told from delay.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock_offset = 0.0
        self._http = httpx2.AsyncClient(**options.http())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(self, model: type[Answer], request: Request) -> Answer:
        """Send a call and return its answer; raise MeshError."""
        return parse(model, (await self.send(request)).content)

    async def send(self, request: Request) -> httpx2.Response:
        """Send a call, a few times where it is repeatable and the failure may pass."""
        attempt = 1
        while True:
            try:
                return await self._send_once(request)
            except MeshError as error:
                if not request.repeatable:
                    raise
                wait = protocol.pause_before_repeat(self.options, error, attempt)
            attempt += 1
            await asyncio.sleep(wait)

    async def answer_of(self, request: Request, *statuses: int) -> httpx2.Response:
        """Send a call once, and return its answer also where that has one of these statuses."""
        response = await self._request(request)
        if response.status_code not in statuses:
            await self._check(response)
        return response

    async def save(self, path: str, file: Path) -> None:
        """Download what is at `path` of the mesh into a file."""
        try:
            async with self._http.stream("GET", path) as response:
                await self._check(response)
                with file.open("wb") as target:
                    async for chunk in response.aiter_bytes():
                        target.write(chunk)
        except httpx2.TransportError as error:
            raise protocol.unreachable(self.options.url, error) from error

    async def follow(self, run_id: str, after: int) -> AsyncIterator[RunEvent]:
        """Yield a run's events, each once, from the one after `after` to the terminal one."""
        cursor = StreamCursor(self.options, run_id, after)
        while not cursor.ended:
            trouble: Exception | None = None
            try:
                async with aclosing(self._stream(cursor, run_id)) as events:
                    async for event in events:
                        yield event
                        if cursor.ended:
                            return
            except (httpx2.TransportError, ApiError) as error:
                trouble = error
            if not cursor.ended:
                await asyncio.sleep(cursor.pause(trouble))

    async def _stream(self, cursor: StreamCursor, run_id: str) -> AsyncGenerator[RunEvent, None]:
        request = protocol.event_stream(run_id, cursor.last_seq)
        async with self._http.stream(request.method, request.path, **request.options) as response:
            await self._check(response)
            if response.status_code == httpx2.codes.NO_CONTENT:
                # The log has ended before that number.
                cursor.ended = True
                return
            async for message in httpx2.EventSource(response):
                if message.data:
                    event = parse(RunEvent, message.data)
                    if cursor.take(event):
                        yield event

    async def _send_once(self, request: Request) -> httpx2.Response:
        response = await self._request(request)
        await self._check(response)
        return response

    async def _request(self, request: Request) -> httpx2.Response:
        try:
            return await self._http.request(request.method, request.path, **request.options)
        except httpx2.TransportError as error:
            raise protocol.unreachable(self.options.url, error) from error

    async def _check(self, response: httpx2.Response) -> None:
        self.clock_offset = protocol.clock_offset(response.headers.get("date", ""))
        if response.is_error:
            await response.aread()
            raise protocol.error_of(response)
