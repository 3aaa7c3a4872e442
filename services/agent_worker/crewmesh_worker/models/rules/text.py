"""A question's words, and which of them have been understood."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crewmesh_worker.models.rules.table import Column
from crewmesh_worker.models.rules.words import NUMBERS, STOP, name_matches, singular, split_words

_ARTICLES = ("the", "a", "an")


class Text:
    """The words in order; taking one marks it as understood."""

    def __init__(self, question: str, columns: Sequence[Column]) -> None:
        written = split_words(question)
        self.words = [word.lower() for word in written]
        # Names, as far as their spelling shows it: the first word's doesn't.
        self.proper = [bool(i) and word[0].isupper() for i, word in enumerate(written)]
        self.used = [False] * len(self.words)
        # Where a column is named in full: "miles per gallon".
        self.names: dict[int, Column] = {}
        for column in sorted(columns, key=lambda c: -len(c.tokens)):
            self._find_name(column)

    @property
    def unknown(self) -> list[int]:
        """Places of words with content that nothing has understood."""
        return [
            place
            for place, word in enumerate(self.words)
            if not self.used[place] and word not in STOP and singular(word) not in STOP
        ]

    def take(self, *places: int) -> None:
        """Mark words as understood."""
        for place in places:
            self.used[place] = True

    def before(self, place: int) -> str:
        """Return the word before a place, articles skipped; empty at the start."""
        place -= 1
        while place >= 0 and self.words[place] in _ARTICLES:
            place -= 1
        return self.words[place] if place >= 0 else ""

    def after(self, place: int) -> str:
        """Return the word after a place; empty at the end."""
        return self.words[place + 1] if place + 1 < len(self.words) else ""

    def takes(self, wanted: Iterable[str]) -> bool:
        """Take the words that are among those wanted; return whether there were any."""
        wanted = set(wanted)
        places = [place for place, word in enumerate(self.words) if word in wanted]
        self.take(*places)
        return bool(places)

    def phrase(self, phrase: str) -> int | None:
        """Take words that stand in a row; return the place after them."""
        words = phrase.split()
        for start in range(len(self.words) - len(words) + 1):
            if self.words[start : start + len(words)] == words:
                self.take(*range(start, start + len(words)))
                return start + len(words)
        return None

    def number(self, place: int) -> str | None:
        """Return the number at a place, as SQL writes it."""
        if not 0 <= place < len(self.words) or self.used[place]:
            return None
        word = self.words[place]
        if word in NUMBERS:
            return str(NUMBERS[word])
        return word.replace(",", "") if word[0].isdigit() else None

    def find_column(
        self, columns: Sequence[Column], places: Iterable[int] | None = None
    ) -> tuple[Column, list[int]] | None:
        """Return the column that the free words (at `places`) name best, and those words."""
        within = range(len(self.words)) if places is None else places
        free = [place for place in within if not self.used[place]]
        best: tuple[tuple[int, float], Column, list[int]] | None = None
        for column in columns:
            said, tokens = self._said_of(column, free)
            score = (len(tokens), len(tokens) / len(column.key_tokens))
            if tokens and (best is None or score > best[0]):
                best = (score, column, said)
        return (best[1], best[2]) if best else None

    def take_column(
        self, columns: Sequence[Column], places: Iterable[int] | None = None
    ) -> tuple[Column, list[int]] | None:
        """Find the column that the free words name best, and take them and its full name."""
        found = self.find_column(columns, places)
        if found:
            self.take(*found[1], *(p for p, named in self.names.items() if named is found[0]))
        return found

    def _said_of(self, column: Column, free: list[int]) -> tuple[list[int], set[str]]:
        """Return the words that speak of a column, and what they cover of its name."""
        said: list[int] = []
        tokens: set[str] = set()
        for place in free:
            if self.names.get(place, column) is column and (
                matched := name_matches(self.words[place], column.key_tokens)
            ):
                said.append(place)
                tokens |= matched
        return said, tokens

    def _find_name(self, column: Column) -> None:
        wanted = [singular(token) for token in column.tokens]
        for start in range(len(self.words) - len(wanted) + 1):
            places = range(start, start + len(wanted))
            said = [singular(self.words[place]) for place in places]
            if wanted and said == wanted and not self.names.keys() & {*places}:
                self.names.update(dict.fromkeys(places, column))
