"""What single words mean; the words themselves are in `vocabulary.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_VOCABULARY: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8")
)
_CAMEL = re.compile(r"([a-z0-9])([A-Z])")
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019][^\W\d_]+)?|[<>]=?")


def vocabulary(name: str) -> frozenset[str]:
    """Return the words of a list in the vocabulary."""
    return frozenset(_VOCABULARY[name].split())


def _by_word(table: str) -> dict[str, str]:
    return {word: key for key, text in _VOCABULARY[table].items() for word in text.split()}


STOP = vocabulary("stop")
MOST, LEAST = vocabulary("most"), vocabulary("least")
MONTHS: list[str] = _VOCABULARY["months"].split()
NUMBERS = {word: number for number, word in enumerate(_VOCABULARY["numbers"].split(), start=1)}
AGGREGATES, UNITS = _by_word("aggregate"), _by_word("unit")
# A quality: whether more of it is a higher number.
QUALITIES = {word: end == "high" for word, end in _by_word("quality").items()}
_SYNONYMS: dict[str, set[str]] = {}
for _tokens, _said in _VOCABULARY["names"].items():
    for _word in _said.split():
        _SYNONYMS.setdefault(_word, set()).update(_tokens.split())


def split_words(text: str) -> list[str]:
    """Return the words, numbers and comparison signs of a text, as they are written."""
    found = (word.replace("\u2019", "'") for word in _WORD.findall(text))
    return [word.removesuffix("'s") for word in found]


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return split_words(text.lower())


def name_tokens(name: str) -> list[str]:
    """Return the words of a column's name: Miles_per_Gallon, tempMax, "Unit price"."""
    return words_of(_CAMEL.sub(r"\1 \2", name).replace("_", " "))


def singular(word: str) -> str:
    """Return the word without a plural's ending."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def plural(word: str) -> str:
    """Return a noun as it stands for several."""
    if singular(word) != word:
        return word
    return word[:-1] + "ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else word + "s"


def quality_of(word: str) -> str | None:
    """Return the quality that an adjective, a comparative or a superlative speaks of."""
    return next((form for form in _positive_forms(word) if form in QUALITIES), None)


def _positive_forms(word: str) -> Iterable[str]:
    yield word
    for ending in ("est", "er"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word.removesuffix(ending)
            yield from (stem, stem + "e")
            if stem[-1] == stem[-2]:
                yield stem[:-1]
            if stem.endswith("i"):
                yield stem[:-1] + "y"


def value_forms(word: str) -> set[str]:
    """Return the words that a category's value may be when a question says `word`.

    "days", "snowy", "sunny", "japanese", "european", "american".
    """
    forms = {word, singular(word)}
    for ending in ("y", "ny", "gy", "ese", "n", "an", "ean", "ish", "ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            forms.add(word.removesuffix(ending))
    return forms


def name_matches(word: str, tokens: Iterable[str]) -> set[str]:
    """Return which of a column name's tokens a question's word speaks of."""
    one = singular(word)
    said = {word, one} | _SYNONYMS.get(one, set()) | _SYNONYMS.get(quality_of(word) or "", set())
    return {token for token in tokens if token in said or singular(token) in said}
