"""Statistics of a whole list from its sorted, summed-up parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from crewmesh_worker.tools.statistics.parts import Numbers, Part


def merge(parts: Sequence[Part]) -> Part:
    """Return what is known of all the parts together."""
    return reduce(_merge_two, parts)


def _merge_two(a: Part, b: Part) -> Part:
    """Merge as Chan, Golub and LeVeque do: no large sums are subtracted from each other."""
    count = a.count + b.count
    distance = b.mean - a.mean
    return Part(
        count=count,
        sum=a.sum + b.sum,
        sum_squares=a.sum_squares + b.sum_squares,
        mean=a.mean + distance * (b.count / count),
        m2=a.m2 + b.m2 + distance * distance * (a.count * b.count / count),
        min=min(a.min, b.min),
        max=max(a.max, b.max),
    )


def variance(part: Part) -> float | None:
    """Return the sample variance; None for a single number."""
    return part.m2 / (part.count - 1) if part.count > 1 else None


def quantile(parts: Sequence[Numbers], q: float) -> float:
    """Return a quantile of sorted parts, between two numbers as far from each as it lies."""
    place = q * (sum(map(len, parts)) - 1)
    below = math.floor(place)
    low = _nth(parts, below)
    if place == below:
        return low
    return low + (place - below) * (_nth(parts, below + 1) - low)


def _nth(parts: Sequence[Numbers], place: int) -> float:
    """Return the number at a place of the whole order, without merging the parts.

    In each part, the range that it can be in is halved around a number of the widest range.
    """
    low, high = [0] * len(parts), [len(part) for part in parts]
    while True:
        widest = max(range(len(parts)), key=lambda n: high[n] - low[n])
        pivot = parts[widest][(low[widest] + high[widest]) // 2]
        first = [int(np.searchsorted(part, pivot, "left")) for part in parts]
        after = [int(np.searchsorted(part, pivot, "right")) for part in parts]
        if place < sum(first):
            high = [min(h, f) for h, f in zip(high, first, strict=True)]
        elif place >= sum(after):
            low = [max(lo, a) for lo, a in zip(low, after, strict=True)]
        else:
            return float(pivot)


def histogram(parts: Sequence[Numbers], lowest: float, highest: float, bins: int) -> Any:
    """Return as many equally wide steps from lowest to highest: their edges and counts."""
    edges = np.linspace(lowest, highest, bins + 1)
    below = sum(np.searchsorted(part, edges[1:-1], "left") for part in parts)
    total = sum(map(len, parts))
    counts = np.diff(np.concatenate([[0], below, [total]]))
    return {"edges": edges.tolist(), "counts": counts.astype(int).tolist()}
