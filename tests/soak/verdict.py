"""Whether a series of samples grows: a robust line through it, and what it adds in an hour."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Memory that a process takes in its first third is what it needs to be warm.
_WARM_UP = 1 / 3
# Both must be passed: a line through noise has some slope, and so has a small heap's last bit
# of warming up.
MAX_MIB_PER_HOUR = 6.0
MAX_GROWTH = 0.02


@dataclass(frozen=True)
class Verdict:
    """What a series does once it is warm."""

    # Medians of the second and of the last third.
    middle_mib: float
    last_mib: float
    # Of the Theil-Sen line through both: the median slope between any two samples.
    mib_per_hour: float

    @property
    def growth(self) -> float:
        """Return how much more the last third holds, as a share."""
        return self.last_mib / self.middle_mib - 1 if self.middle_mib else 0.0

    @property
    def flat(self) -> bool:
        """Tell whether it doesn't grow."""
        return self.mib_per_hour <= MAX_MIB_PER_HOUR or self.growth <= MAX_GROWTH


def judge(times: Sequence[float], mib: Sequence[float]) -> Verdict:
    """Judge samples at `times`, in seconds and in order, of which there are at least 9."""
    warm = int(len(times) * _WARM_UP)
    middle = (len(times) + warm) // 2
    return Verdict(
        middle_mib=statistics.median(mib[warm:middle]),
        last_mib=statistics.median(mib[middle:]),
        mib_per_hour=theil_sen(times[warm:], mib[warm:]) * 3600,
    )


def theil_sen(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the median slope between any two points; a third of them may lie anywhere."""
    return statistics.median(
        (ys[j] - ys[i]) / (xs[j] - xs[i]) for i in range(len(xs)) for j in range(i + 1, len(xs))
    )
