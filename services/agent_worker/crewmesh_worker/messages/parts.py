"""A message's parts: each question or request that it holds."""

from __future__ import annotations

import re

from crewmesh_worker.messages.queries import is_query

MAX_PARTS = 10
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_SENTENCE_END = re.compile(r"(?<=[?!])\s+|(?<=\.)\s+(?=[A-Z0-9\"“'])|\s*;\s+")
# A full stop behind these ends no sentence.
_ABBREVIATED = re.compile(
    r"(?:\b(?:st|mr|mrs|ms|dr|prof|vs|etc|no|ca|approx|e\.g|i\.e|u\.s|u\.k)|\b[a-z])\.$",
    re.IGNORECASE,
)
_ASKS = r"(?:what|how|who|when|where|which|why|is|are|will|can|could|does|do|did|tell|show|give|convert)"
# "What is the weather in Rome and what time is it there?"
_AND_ASKS = re.compile(rf"(?:,\s*and|,|\band)\s+(?:also\s+)?(?={_ASKS}\b)", re.IGNORECASE)
_STARTS_ASKING = re.compile(rf"(?:and\s+)?{_ASKS}\b", re.IGNORECASE)


def split_message(message: str) -> list[str]:
    """Return the parts in their order, at most MAX_PARTS; the last holds what is left over.

    A line that is a structured query is one part, whatever it holds.
    """
    parts: list[str] = []
    for line in message.splitlines():
        text = _BULLET.sub("", line).strip()
        if text:
            parts += [text] if is_query(text) else _sentences(text)
    if len(parts) > MAX_PARTS:
        parts[MAX_PARTS - 1 :] = [" ".join(parts[MAX_PARTS - 1 :])]
    return parts


def _sentences(line: str) -> list[str]:
    sentences: list[str] = []
    for piece in _SENTENCE_END.split(line):
        if sentences and _ABBREVIATED.search(sentences[-1]):
            sentences[-1] += " " + piece
        elif piece.strip():
            sentences.append(piece.strip())
    return [part for sentence in sentences for part in _questions(sentence)]


def _questions(sentence: str) -> list[str]:
    """Split "A and B?" where both halves ask."""
    first, *rest = _AND_ASKS.split(sentence)
    questions = [first.strip()]
    for piece in rest:
        if _STARTS_ASKING.match(questions[-1]):
            questions.append(piece.strip())
        else:
            questions[-1] = sentence
            break
    return [question for question in questions if question]
