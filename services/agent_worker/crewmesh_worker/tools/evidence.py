"""Which numbers the results of a run's queries hold, and which numbers a text claims."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# Code, image and link targets, and the numbering of lists claim nothing.
_NO_CLAIMS = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|^\s*\d+[.)]\s", re.DOTALL | re.MULTILINE)
# Not inside a word or a file's name: "temp_max2", "chart-1.png".
_NUMBER = re.compile(
    r"(?<![\w.])(?<![A-Za-z]-)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?:[eE]([+-]?\d+))?(\s?%)?"
)


@dataclass(frozen=True)
class Claim:
    """A number as a text states it; `error` is how far rounding may have moved it."""

    text: str
    value: float
    error: float
    percent: bool


@dataclass
class Evidence:
    """The numbers that the run's results hold, without their signs."""

    _values: list[float] = field(default_factory=list)

    def add(self, value: Any) -> None:
        """Record every number in a JSON value, those inside its texts included."""
        if isinstance(value, str):
            for claim in claims(value):
                insort(self._values, claim.value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            insort(self._values, abs(float(value)))
        elif isinstance(value, dict):
            for key, item in value.items():
                self.add(key)
                self.add(item)
        elif isinstance(value, list):
            for item in value:
                self.add(item)

    def unsupported(self, texts: Iterable[str]) -> list[str]:
        """Return the numbers in the texts that no result holds, as written, each once."""
        missing = {c.text: None for text in texts for c in claims(text) if not self._supports(c)}
        return list(missing)

    def _supports(self, claim: Claim) -> bool:
        scales = (1.0, 0.01) if claim.percent else (1.0,)
        return any(self._has(claim.value * scale, claim.error * scale) for scale in scales)

    def _has(self, value: float, error: float) -> bool:
        slack = error + 1e-9 * max(1.0, value)
        index = bisect_left(self._values, value - slack)
        return index < len(self._values) and self._values[index] <= value + slack


def claims(text: str) -> list[Claim]:
    """Return the numbers that a Markdown text states."""
    found = []
    for match in _NUMBER.finditer(_NO_CLAIMS.sub(" ", text)):
        whole, fraction, exponent, percent = match.groups()
        scale = 10.0 ** int(exponent or 0)
        value = float(whole.replace(",", "") + (fraction or "")) * scale
        decimals = len(fraction) - 1 if fraction else 0
        error = 0.5 * 10.0**-decimals * scale
        found.append(Claim(match.group().strip(), value, error, percent is not None))
    return found
