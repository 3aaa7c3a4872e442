"""What somebody types who looks for runs, as the database takes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

# More narrow nothing down any more.
_MAX_WORDS: Final = 20
_QUOTES: Final = re.compile(r"['\\]")
_LETTER: Final = re.compile(r"\w")
_PART_OF_ID: Final = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")
_HEX_DIGITS: Final = 32
_NO_ID: Final = UUID(int=0)


@dataclass(frozen=True)
class Search:
    """Runs that hold all these words, and those whose id begins or ends like this."""

    # What to_tsquery takes: each word may be the beginning of one.
    words: str
    first_id: UUID
    last_id: UUID
    # A tsquery: the beginning of an id's last 12 digits.
    id_end: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the search for what was typed."""
        typed = text.lower().split()
        words = [word for part in typed if _LETTER.search(word := _QUOTES.sub("", part))]
        query = " & ".join(f"'{word}':*" for word in words[:_MAX_WORDS])
        part_of_id = typed[0] if len(typed) == 1 and _PART_OF_ID.fullmatch(typed[0]) else ""
        digits = part_of_id.replace("-", "")
        id_end = f"'{digits}':*" if 0 < len(digits) <= 12 else ""
        return cls(query, *_ids(digits), id_end)


def _ids(digits: str) -> tuple[UUID, UUID]:
    """Return the first and the last id that begins with these digits; no run has the id 0."""
    if not digits or len(digits) > _HEX_DIGITS:
        return _NO_ID, _NO_ID
    return UUID(digits.ljust(_HEX_DIGITS, "0")), UUID(digits.ljust(_HEX_DIGITS, "f"))
