"""What every part of the mesh knows of a run's events; docs/reference/events.md has all of them."""

from __future__ import annotations

from typing import Final

# Exactly one of these ends a log.
TERMINAL_EVENT_TYPES: Final = frozenset(
    {"run.succeeded", "run.failed", "run.cancelled", "run.timed_out"}
)
