"""Unified diffs, whose cost has a bound."""

from __future__ import annotations

import difflib
import re

import pytest

from crewmesh_worker.crews import diff
from crewmesh_worker.crews.diff import diff_lines

COMMON = [f"common {n}" for n in range(10)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([*COMMON, "a", *COMMON], [*COMMON, "b", "c", *COMMON]),
        ([*COMMON, "a"], [*COMMON, "b"]),
        (["a", *COMMON], ["b", *COMMON]),
        ([*COMMON, *COMMON], COMMON),
        (["x"] * 5, ["x"] * 9),
        (["a"], ["b"]),
    ],
)
def test_a_block_that_is_too_large_to_compare_says_the_same(
    first: list[str], second: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = list(diff_lines(first, second, "a", "b"))
    assert compared == list(difflib.unified_diff(first, second, "a", "b", lineterm=""))
    monkeypatch.setattr(diff, "_MAX_COMPARISONS", -1)
    assert applied(list(diff_lines(first, second, "a", "b")), first) == second


def test_what_is_the_same_has_no_difference() -> None:
    assert list(diff_lines(COMMON, COMMON, "a", "b")) == []


def applied(lines: list[str], first: list[str]) -> list[str]:
    """Return the first text with the only hunk of a diff applied, as `patch` would."""
    assert lines[:2] == ["--- a", "+++ b"]
    found = re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", lines[2])
    assert found is not None
    start, removed, _, added = map(int, found.groups())
    old = [line[1:] for line in lines[3:] if line[0] in " -"]
    new = [line[1:] for line in lines[3:] if line[0] in " +"]
    assert (len(old), len(new)) == (removed, added)
    assert first[start - 1 : start - 1 + removed] == old
    return [*first[: start - 1], *new, *first[start - 1 + removed :]]


def test_what_would_take_minutes_to_compare_is_one_block() -> None:
    first = [f"line {n % 190}" for n in range(9_000)]
    second = [f"line {n * 7 % 190}" for n in range(9_000)]
    lines = list(diff_lines(first, second, "a", "b"))
    assert sum(line.startswith("@@") for line in lines) == 1
    assert [line[1:] for line in lines[3:] if line[0] in " -"] == first
