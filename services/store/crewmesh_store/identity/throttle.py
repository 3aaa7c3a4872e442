"""How long who failed to sign in has to wait."""

from __future__ import annotations

# Of one account, whether it exists or not; of one network address, behind which may be many.
ACCOUNT_FAILURES = 5
ADDRESS_FAILURES = 50
_LONGEST_SECONDS = 900.0


def seconds_to_wait(failures: int, free: int, seconds_ago: float) -> float:
    """Return how long nothing is tried: none for `free` failures, then 1, 2, 4, ... 900 s."""
    if failures < free:
        return 0.0
    pause = min(2.0 ** min(failures - free, 20), _LONGEST_SECONDS)
    return max(0.0, pause - seconds_ago)
