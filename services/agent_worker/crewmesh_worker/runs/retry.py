"""When a run that failed through no fault of its crew is tried again."""

from __future__ import annotations

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 60.0


def retry_delay_seconds(attempt: int) -> float:
    """Return the pause after the given attempt (1, 2, ...): 1, 2, 4, ... at most 60 seconds."""
    return min(_FIRST_SECONDS * 2.0 ** (attempt - 1), _LONGEST_SECONDS)
