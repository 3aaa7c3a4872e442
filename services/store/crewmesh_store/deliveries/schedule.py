"""When a webhook that wasn't taken is tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

MAX_TRIES: Final = 8
_FACTOR: Final = 4
_LONGEST: Final = timedelta(hours=6)


def next_pause(tries: int, first: timedelta) -> timedelta | None:
    """Return the pause after so many tries: first, 4 times that, 16 times, ... 6 hours.

    None when it is given up.
    """
    if tries >= MAX_TRIES:
        return None
    factor: int = _FACTOR ** (tries - 1)
    return min(first * factor, _LONGEST)
