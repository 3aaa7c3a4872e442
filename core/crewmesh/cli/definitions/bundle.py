"""A definition as it is pushed, and the files that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

    def describe_all(self, faults: Iterable[tuple[Place, str]]) -> list[str]:
        """Return faults as "agents.yaml:12: writer.llm: what is wrong", file by file, from its top.

        A fault that is in no file comes first.
        """
        found = [(*self._find(place), place, message) for place, message in faults]
        found.sort(key=lambda fault: fault[:2])
        return [self._describe(place, message) for _, _, place, message in found]

    def _find(self, place: Place) -> tuple[int, int]:
        """Return which of the parts a place is in, -1 for none, and its line there."""
        around = [i for i, part in enumerate(self.parts) if place[: len(part.place)] == part.place]
        if not around:
            return -1, 0
        index = max(around, key=lambda i: len(self.parts[i].place))
        part = self.parts[index]
        return index, part.line(place[len(part.place) :]) or 0

    def _describe(self, place: Place, message: str) -> str:
        index, line = self._find(place)
        if index < 0:
            return f"{show_place(place)}: {message}"
        part = self.parts[index]
        inside = place[len(part.place) :]
        where = f"{part.path.name}:{line}" if line else part.path.name
        return f"{where}: {show_place(inside)}: {message}" if inside else f"{where}: {message}"
