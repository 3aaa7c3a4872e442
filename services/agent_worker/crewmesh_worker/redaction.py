"""Keeps a run's secrets out of what it says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

_MARK: Final = "[secret]"
# A shorter value is found in too much that isn't it.
_SHORTEST: Final = 6


class Redactor:
    """Replaces exact values, as they are and as JSON writes them. Costs nothing without any."""

    def __init__(self, secrets: Iterable[str]) -> None:
        written: set[str] = set()
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                written |= {
                    secret,
                    json.dumps(secret)[1:-1],
                    json.dumps(secret, ensure_ascii=False)[1:-1],
                }
        # One may be a part of another.
        self._written = sorted(written, key=len, reverse=True)

    def redact(self, text: str) -> str:
        """Return the text without the secrets."""
        for secret in self._written:
            text = text.replace(secret, _MARK)
        return text
