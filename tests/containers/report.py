"""What was looked at, said as it is seen."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Report:
    """What was looked at, and what wasn't as it should be."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.checks = 0

    def check(self, holds: bool, what: str) -> None:
        """Note and say whether something is as it should be."""
        self.checks += 1
        say(f"  {'ok' if holds else 'NOT'}  {what}")
        if not holds:
            self.faults.append(what)
