"""Where in a document something is."""

from __future__ import annotations

from typing import TypeAlias

Place: TypeAlias = tuple[str | int, ...]

WHOLE = "(the whole)"


def show_place(place: Place) -> str:
    """Return a place as people read it, such as `tasks[1].agent`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or WHOLE
