"""How many checks each part of `make security` made; printed at its end."""

from __future__ import annotations

from collections import Counter

COUNTS: Counter[str] = Counter()


def count(part: str, checks: int) -> None:
    COUNTS[part] += checks
