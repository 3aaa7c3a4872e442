"""One part of a list of numbers: sorted, and summed up. What pool processes import."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """What is known of some numbers. `m2` is the sum of squared distances from their mean."""

    count: int
    sum: float
    sum_squares: float
    mean: float
    m2: float
    min: float
    max: float


def sort_and_sum(numbers: Numbers) -> Part:
    """Sort the numbers, of which there is at least one, in place, and sum them up."""
    numbers.sort()
    mean = float(numbers.mean())
    distances = numbers - mean
    # The mean is rounded; what that adds to the squares is taken off.
    excess = float(distances.sum()) ** 2 / len(numbers)
    return Part(
        count=len(numbers),
        sum=float(numbers.sum()),
        sum_squares=float(np.dot(numbers, numbers)),
        mean=mean,
        m2=max(0.0, float(np.dot(distances, distances)) - excess),
        min=float(numbers[0]),
        max=float(numbers[-1]),
    )


def sort_and_sum_file(path: str, start: int, stop: int) -> Part:
    """Do that with a part of a file of numbers, in the file."""
    numbers = np.load(path, mmap_mode="r+", allow_pickle=False)
    return sort_and_sum(numbers[start:stop])
