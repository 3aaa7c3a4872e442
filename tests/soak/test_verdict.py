from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.soak.verdict import judge, theil_sen

# An hour, a sample every 20 s.
TIMES = [20.0 * number for number in range(181)]


def samples(held: Callable[[float], float], noise: float = 0.0) -> list[float]:
    rng = random.Random(1)
    return [held(time) + rng.uniform(-noise, noise) for time in TIMES]


def with_peaks(values: list[float]) -> list[float]:
    return [value + 300 * (number % 7 == 0) for number, value in enumerate(values)]


def warming_up(time: float) -> float:
    return 100.0 + min(time / 600, 1.0) * 50


@pytest.mark.parametrize(
    ("values", "flat"),
    [
        (samples(lambda _: 100.0), True),
        (samples(lambda _: 0.0), True),
        (samples(lambda _: 100.0, noise=5), True),
        (samples(warming_up, noise=1), True),
        (samples(lambda time: 130.0 - time / 100), True),
        (with_peaks(samples(lambda _: 100.0)), True),
        # A bit of a large heap, and a small one's last bit of warming up.
        (samples(lambda time: 2000.0 + 10 * time / 3600), True),
        (samples(lambda time: 100.0 + 5 * time / 3600), True),
        (samples(lambda time: 100.0 + 20 * time / 3600), False),
        (samples(lambda time: 100.0 + 20 * time / 3600, noise=5), False),
        (with_peaks(samples(lambda time: 100.0 + 20 * time / 3600)), False),
        (samples(lambda time: warming_up(time) + 30 * time / 3600, noise=1), False),
    ],
)
def test_what_grows_is_told_from_what_is_noisy_or_warming_up(
    values: list[float], flat: bool
) -> None:
    assert judge(TIMES, values).flat is flat


def test_a_line_is_found_through_points_of_which_some_lie_anywhere() -> None:
    ys = [3 * x + 1 for x in TIMES]
    for number in range(0, len(ys), 4):
        ys[number] = 1e6
    assert theil_sen(TIMES, ys) == pytest.approx(3)
