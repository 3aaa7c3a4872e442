"""Whether a text's citations hold: each names a page, and its numbers are on that page."""

from __future__ import annotations

import re
from collections.abc import Mapping

from crewmesh_worker.tools.evidence import Evidence

# [1], [2, 3] and [1][4]; not [1](a link).
_CITED = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\](?!\()")
_SOURCES = re.compile(r"^#{0,6}\s*\**(sources|references)\b.*", re.IGNORECASE | re.MULTILINE)
_END = re.compile(r"(?<=[.!?])(\s*(?:\[[\d, ]+\])+)?\s+|\n+")


def cited_numbers(text: str) -> list[int]:
    """Return the numbers that a text cites, each once, in order."""
    found = [int(n) for match in _CITED.finditer(text) for n in match[1].split(",")]
    return list(dict.fromkeys(found))


def body_of(answer: str) -> str:
    """Return the answer without the list of sources at its end."""
    match = _SOURCES.search(answer)
    return answer[: match.start()] if match else answer


def citation_faults(answer: str, pages: Mapping[int, str]) -> list[str]:
    """Return what is wrong with an answer's citations, given the fetched pages' texts."""
    body = body_of(answer)
    numbers = cited_numbers(body)
    faults = [f"[{n}] is none of the pages that were read" for n in numbers if n not in pages]
    if not numbers:
        faults.append("nothing is cited: put the number of its page behind each claim, such as [1]")
    for sentence in sentences_with_citations(body):
        known = [pages[n] for n in cited_numbers(sentence) if n in pages]
        if not known:
            continue
        evidence = Evidence()
        for text in known:
            evidence.add(text)
        stated = _CITED.sub(" ", sentence)
        if missing := evidence.unsupported([stated]):
            cited = ", ".join(f"[{n}]" for n in cited_numbers(sentence))
            faults.append(f"{', '.join(missing)} is not on {cited}: “{stated.strip()}”")
    return faults


def sentences_with_citations(text: str) -> list[str]:
    """Return the sentences that cite something, with what they cite.

    A citation counts for the sentence it ends, whether it stands before its full stop or
    after it.
    """
    sentences, start = [], 0
    for match in _END.finditer(text):
        sentences.append(text[start : match.start()] + (match[1] or ""))
        start = match.end()
    sentences.append(text[start:])
    return [sentence for sentence in sentences if _CITED.search(sentence)]
