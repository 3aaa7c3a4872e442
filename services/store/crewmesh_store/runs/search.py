"""What somebody types who looks for runs, as the database takes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

# More narrow nothing down any more.
_MAX_WORDS: Final = 20
_WORD: Final = re.compile(r"\w+")
_START_OF_ID: Final = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")
_HEX_DIGITS: Final = 32
_NO_ID: Final = UUID(int=0)


@dataclass(frozen=True)
class Search:
    """Runs that hold all these words, and those whose id lies in this range."""

    # A tsquery: each word may be the beginning of one.
    words: str
    first_id: UUID
    last_id: UUID

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the search for what was typed."""
        text = text.strip().lower()
        words = " & ".join(f"'{word}':*" for word in _WORD.findall(text)[:_MAX_WORDS])
        return cls(words, *_ids(text))


def _ids(text: str) -> tuple[UUID, UUID]:
    """Return the first and the last id that begins like this; no run has the id 0."""
    digits = text.replace("-", "")
    if not _START_OF_ID.fullmatch(text) or len(digits) > _HEX_DIGITS:
        return _NO_ID, _NO_ID
    return UUID(digits.ljust(_HEX_DIGITS, "0")), UUID(digits.ljust(_HEX_DIGITS, "f"))
