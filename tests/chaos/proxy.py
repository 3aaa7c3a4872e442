"""A link between two parts of the mesh: a TCP proxy that can be broken in several ways."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from crewmesh.cli.mesh.ports import HOST, ReservedPort

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Connection]]

_CHUNK_BYTES = 65_536


def to_port(port: int) -> Connect:
    """Return what connects to a port of this machine."""
    return lambda: asyncio.open_connection(HOST, port)


def to_socket(path: str) -> Connect:
    """Return what connects to a socket file."""
    return lambda: asyncio.open_unix_connection(path)


class Link:
    """Forwards what comes to `address`, unless it is told not to."""

    def __init__(self, name: str, connect: Connect) -> None:
        self.name = name
        # For whoever breaks it for a while: one at a time.
        self.lock = asyncio.Lock()
        self._connect = connect
        self._port = ReservedPort(0, name)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._forth, self._back = asyncio.Event(), asyncio.Event()
        self.release()

    @property
    def address(self) -> str:
        """Return where clients connect, "host:port"."""
        return self._port.address

    async def open(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._forward, HOST, self._port.number)

    def cut(self) -> None:
        """Reset every connection; new ones are welcome."""
        for writer in self._writers:
            writer.transport.abort()

    def hold(self) -> None:
        """Keep and accept connections, but forward nothing."""
        self._forth.clear()
        self._back.clear()

    def hold_back(self) -> None:
        """Forward what callers send, and nothing of what comes back."""
        self._back.clear()

    def release(self) -> None:
        """Forward again, beginning with what was held."""
        self._forth.set()
        self._back.set()

    def refuse(self) -> None:
        """Reset every connection and refuse new ones until `open`."""
        assert self._server is not None
        self._server.close()
        self.cut()

    def close(self) -> None:
        """End for good."""
        self.refuse()
        self._port.release()

    async def _forward(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            far, onward = await self._connect()
        except OSError:
            back.transport.abort()
            return
        both = {back, onward}
        self._writers |= both
        try:
            await asyncio.gather(_pump(near, onward, self._forth), _pump(far, back, self._back))
        finally:
            self._writers -= both


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, flowing: asyncio.Event
) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK_BYTES):
            await flowing.wait()
            sink.write(chunk)
            await sink.drain()
    sink.close()
