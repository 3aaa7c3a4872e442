# Made from the file of the same name in _async by core/make_sync_client.py.
"""What every resource has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crewmesh.client._sync.transport import Transport
from crewmesh.client.models import Item, Page


class Resource:
    """One kind of thing of the mesh."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport


def every(read: Callable[[str | None], Page[Item]]) -> Iterator[Item]:
    """Yield the items of all pages; `read` returns the one at a cursor."""
    cursor: str | None = None
    while True:
        page = read(cursor)
        for item in page.items:
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return
