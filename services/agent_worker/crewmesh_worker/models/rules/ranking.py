"""Which sentences of some texts answer a question best (BM25)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

import bm25s

from crewmesh_worker.models.rules.words import STOP, singular

# It tells of each index that it builds.
logging.getLogger("bm25s").setLevel(logging.WARNING)

_WORD = re.compile(r"[^\W_]+")
# A full stop that no abbreviation or initial has; one pattern looks back a fixed length.
_END = re.compile(
    r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\b(?:Dr|Mr|Ms|St|vs|No)\.)(?<!\b(?:e\.g|i\.e|Mrs|etc)\.)"
    r"[\"”')\]]*\s+(?=[\"“'(\[]?[A-Z0-9])|\n+"
)
_SHORTEST, _LONGEST = 25, 600
# Of sentences that share words with the question, how close to the best others must be.
_SHARE_OF_BEST = 0.35
_MOST_SENTENCES = 20_000


@dataclass(frozen=True)
class Passage:
    """A sentence, the number of the page that it is from, and where it stands there."""

    page: int
    place: int
    text: str


def passages(page: int, text: str) -> list[Passage]:
    """Return the sentences of a page, without headings, menus and fragments."""
    sentences = (" ".join(piece.split()) for piece in _END.split(text))
    kept = [s for s in sentences if _SHORTEST <= len(s) <= _LONGEST]
    return [Passage(page, place, sentence) for place, sentence in enumerate(kept)]


def best_passages(question: str, candidates: list[Passage], most: int) -> list[Passage]:
    """Return at most `most` passages that answer the question, the best first.

    Those that share none of its words are never among them.
    """
    candidates = candidates[:_MOST_SENTENCES]
    asked = list(dict.fromkeys(_terms(question)))
    terms = [_terms(candidate.text) for candidate in candidates]
    known = set().union(*terms) if terms else set()
    asked = [term for term in asked if term in known]
    if not asked:
        return []
    index = bm25s.BM25()
    index.index(terms, show_progress=False)
    scores = index.get_scores(asked)
    # The order of equal scores is the order of the pages: the same each time.
    ranked = sorted(range(len(candidates)), key=lambda place: (-scores[place], place))
    least = scores[ranked[0]] * _SHARE_OF_BEST
    chosen = [candidates[place] for place in ranked if scores[place] > max(least, 0.0)]
    distinct = {passage.text: passage for passage in reversed(chosen)}
    return [passage for passage in chosen if distinct[passage.text] is passage][:most]


def _terms(text: str) -> list[str]:
    words = (word.lower() for word in _WORD.findall(text))
    return [singular(word) for word in words if word not in STOP and len(word) > 1]
