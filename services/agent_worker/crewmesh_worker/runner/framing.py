"""Messages between worker and runner: a 4-byte big-endian length, then protobuf.

The runner's side blocks (`Connection`), the worker's is asyncio's (`AsyncConnection`).
Both refuse messages above a size, in either direction.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
import threading
from typing import Self

from google.protobuf.message import DecodeError, Message

from crewmesh.v1.runner_pb2 import FromRunner, ToRunner

_LENGTH = struct.Struct(">I")
_READ_AHEAD_BYTES = 256 * 1024


class FramingError(Exception):
    """A message is too large, or the bytes are none."""


class Connection:
    """The runner's end. Any thread may send; one receives."""

    def __init__(self, sock: socket.socket, max_bytes: int) -> None:
        self._sock = sock
        self._max_bytes = max_bytes
        self._sending = threading.Lock()

    def send(self, message: FromRunner) -> None:
        """Send, waiting while the worker reads slowly.

        Raises FramingError for a message above the limit (nothing was sent then), OSError
        when the worker is gone.
        """
        frame = _encode(message, self._max_bytes)
        with self._sending:
            self._sock.sendall(frame)

    def wait(self, seconds: float) -> bool:
        """Wait for that long at most; tell whether there is something to receive."""
        return bool(select.select([self._sock], [], [], seconds)[0])

    def receive(self) -> ToRunner | None:
        """Wait for the next message; None once the worker has closed its end."""
        try:
            length = _length(self._read(_LENGTH.size), self._max_bytes)
            return ToRunner.FromString(self._read(length))
        except EOFError:
            return None

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._sock.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


class AsyncConnection:
    """The worker's end. Stops reading from the socket while nobody receives."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, max_bytes: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._max_bytes = max_bytes

    @classmethod
    async def open(cls, sock: socket.socket, max_bytes: int) -> Self:
        """Take over a connected stream socket."""
        streams = await asyncio.open_unix_connection(sock=sock, limit=_READ_AHEAD_BYTES)
        return cls(*streams, max_bytes)

    async def send(self, message: ToRunner) -> None:
        """Send; raises FramingError for a message above the limit, OSError when nobody reads."""
        self._writer.write(_encode(message, self._max_bytes))
        await self._writer.drain()

    async def receive(self) -> FromRunner:
        """Wait for the next message.

        Raises EOFError or OSError when the runner's end is closed, FramingError when what
        came is no message.
        """
        length = _length(await self._reader.readexactly(_LENGTH.size), self._max_bytes)
        data = await self._reader.readexactly(length)
        try:
            message = FromRunner.FromString(data)
        except DecodeError as error:
            raise FramingError("it sent bytes that are no message") from error
        if message.WhichOneof("message") is None:
            raise FramingError("it sent a message of no known kind")
        return message

    def close(self) -> None:
        """Close the socket at once."""
        with contextlib.suppress(RuntimeError):  # the event loop may be closed already
            self._writer.transport.abort()


def _encode(message: Message, max_bytes: int) -> bytes:
    body = message.SerializeToString()
    if len(body) > max_bytes:
        raise FramingError(f"a message of {len(body):,} bytes is above the limit of {max_bytes:,}")
    return _LENGTH.pack(len(body)) + body


def _length(header: bytes, max_bytes: int) -> int:
    length: int = _LENGTH.unpack(header)[0]
    if length > max_bytes:
        raise FramingError(f"it announced a message of {length:,} bytes, above {max_bytes:,}")
    return length
