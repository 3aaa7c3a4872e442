"""The mesh's client as the commands use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, BinaryIO, TypedDict, cast

from crewmesh.cli.connection import Connection
from crewmesh.client import AsyncClient

Json = dict[str, Any]


class Event(TypedDict):
    """One entry of a run's log, as JSON."""

    seq: int
    run_id: str
    at: str
    attempt: int
    type: str
    task: str | None
    agent: str | None
    payload: Json


def open_client(connection: Connection) -> AsyncClient:
    """Return a client for the mesh that a connection names."""
    return AsyncClient(connection.url, connection.api_key, user_agent="crewmesh-cli")


async def watch(client: AsyncClient, run_id: str, after: int = 0) -> AsyncIterator[Event]:
    """Yield a run's events, each once, to the terminal one."""
    async for event in client.runs.events(run_id, after=after):
        yield cast(Event, event.raw)


def with_progress(file: BinaryIO, on_read: Callable[[int], None]) -> BinaryIO:
    """Return `file` so that `on_read` learns of every number of bytes read from it."""
    return _CountedFile(file, on_read)  # type: ignore[return-value]  # as much of one as an upload needs


class _CountedFile:
    def __init__(self, file: BinaryIO, on_read: Callable[[int], None]) -> None:
        self._file = file
        self._on_read = on_read

    def read(self, count: int = -1) -> bytes:
        chunk = self._file.read(count)
        self._on_read(len(chunk))
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
