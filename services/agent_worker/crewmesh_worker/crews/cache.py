"""Definitions that were read lately, within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from crewmesh_worker.crews.definition import CrewDefinition

# Of their JSON; as objects they take some times as much.
_MAX_BYTES: Final = 16 * 1024 * 1024

# Organisation ("" for everybody's), name and version, whose content never changes.
Key = tuple[str, str, str]


class DefinitionCache:
    """Keeps what was used last."""

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Key, tuple[CrewDefinition, int]] = OrderedDict()

    def get(self, key: Key) -> CrewDefinition | None:
        """Return a definition that is still here."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Key, definition: CrewDefinition, size: int) -> None:
        """Keep a definition whose JSON has `size` bytes, and forget the oldest ones for it."""
        if key in self._kept or size > self._max_bytes:
            return
        self._kept[key] = (definition, size)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._bytes -= self._kept.popitem(last=False)[1][1]
