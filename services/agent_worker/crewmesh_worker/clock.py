"""The clock that leases are judged by, the same in all processes of a machine."""

from __future__ import annotations

import time

# It goes on while the machine is suspended, as the store's does meanwhile. macOS has no clock
# of that name: its monotonic one goes on, too.
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Return the seconds since the machine started."""
    return time.clock_gettime(_CLOCK)


def now_us() -> int:
    """Return the same in whole microseconds, rounded down."""
    return time.clock_gettime_ns(_CLOCK) // 1_000
