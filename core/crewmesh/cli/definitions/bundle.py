"""A definition as it is pushed, and the files that it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from crewmesh.common.documents import Place, find_lines, show_place


@dataclass(frozen=True)
class Part:
    """A file, and the place in the definition that it fills."""

    place: Place
    path: Path
    text: str

    @cached_property
    def _lines(self) -> dict[Place, int]:
        return find_lines(self.text)

    def line(self, place: Place) -> int | None:
        """Return the line of a place in this file, or of the nearest that is around it."""
        for end in range(len(place), 0, -1):
            if (line := self._lines.get(place[:end])) is not None:
                return line
        return None


@dataclass(frozen=True)
class Bundle:
    """What is sent, and where its parts came from."""

    name: str
    content: bytes
    media_type: str
    parts: Sequence[Part]

    def describe(self, place: Place, message: str) -> str:
        """Return a fault as "agents.yaml:12: writer.llm: what is wrong"."""
        around = [part for part in self.parts if place[: len(part.place)] == part.place]
        if not around:
            return f"{show_place(place)}: {message}"
        part = max(around, key=lambda part: len(part.place))
        inside = place[len(part.place) :]
        line = part.line(inside)
        where = f"{part.path.name}:{line}" if line else part.path.name
        return f"{where}: {show_place(inside)}: {message}" if inside else f"{where}: {message}"
