"""Keeps a run's secrets out of what it says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

_MARK: Final = "[secret]"
# A shorter value is found in too much that isn't it.
_SHORTEST: Final = 6
_SHORTEST_LINE: Final = 12


class Redactor:
    """Replaces exact values, as they are and as JSON writes them. Costs nothing without any.

    Of a value of several lines each longer line is one, too: they may come apart, as printed
    lines do.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        written: set[str] = set()
        for secret in secrets:
            lines = [line for line in secret.splitlines() if len(line) >= _SHORTEST_LINE]
            for value in (secret, *lines):
                if len(value) >= _SHORTEST:
                    written |= {
                        value,
                        json.dumps(value)[1:-1],
                        json.dumps(value, ensure_ascii=False)[1:-1],
                    }
        # One may be a part of another.
        self._written = sorted(written, key=len, reverse=True)
        self._by_first: dict[str, list[str]] = {}
        for value in self._written:
            self._by_first.setdefault(value[0], []).append(value)

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to replace."""
        return bool(self._written)

    def redact(self, text: str) -> str:
        """Return the text without the secrets."""
        for secret in self._written:
            text = text.replace(secret, _MARK)
        return text

    def split(self, text: str) -> tuple[str, str]:
        """Return a text that goes on, without its secrets; and its end, where that may begin one.

        That end is to be put before what comes next.
        """
        longest = len(self._written[0]) if self._written else 0
        for at in range(max(0, len(text) - longest + 1), len(text)):
            if self._may_go_on(text, at):
                at = self._begin(text, at)
                return self.redact(text[:at]), text[at:]
        return self.redact(text), ""

    def end(self, held: str) -> str:
        """Return an end that `split` kept back, when nothing comes next; not most of a secret."""
        return held if len(held) < _SHORTEST else _MARK

    def _may_go_on(self, text: str, at: int) -> bool:
        """Say whether what comes next may make a secret of the text from `at` on."""
        end = text[at:]
        return any(
            len(secret) > len(end) and secret.startswith(end)
            for secret in self._by_first.get(text[at], ())
        )

    def _begin(self, text: str, at: int) -> int:
        """Return where the first secret begins that is whole and lies across `at`; else `at`."""
        begins = [text.find(s, max(0, at - len(s) + 1), at + len(s) - 1) for s in self._written]
        first = min((begin for begin in begins if 0 <= begin < at), default=at)
        return first if first == at else self._begin(text, first)
