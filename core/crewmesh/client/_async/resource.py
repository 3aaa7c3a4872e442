"""What every resource has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from crewmesh.client._async.transport import AsyncTransport
from crewmesh.client.models import Item, Page


class AsyncResource:
    """One kind of thing of the mesh."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport


async def every(read: Callable[[str | None], Awaitable[Page[Item]]]) -> AsyncIterator[Item]:
    """Yield the items of all pages; `read` returns the one at a cursor."""
    cursor: str | None = None
    while True:
        page = await read(cursor)
        for item in page.items:
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return
