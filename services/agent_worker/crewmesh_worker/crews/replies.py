"""Answers by keyword: given at once, without any agent, where a message is nothing else.

Each part of the message must be one of the keywords, but for case, punctuation and a polite
word: "Hello! What can you do?" is answered, "Hello, what is the weather?" is for the agents.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any

from crewmesh.common.errors import Violation
from crewmesh_worker.crews.model import RepliesDefinition
from crewmesh_worker.messages.parts import split_message

PLACEHOLDERS = frozenset(("date", "time", "weekday"))
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_POLITE = frozenset(("please", "thanks", "ok", "okay", "hey", "so", "well", "now", "again"))


def find_reply(
    replies: RepliesDefinition, inputs: Mapping[str, Any], now: dt.datetime
) -> str | None:
    """Return the answer to the message among the inputs; None where agents must answer it.

    `now` is in UTC.
    """
    message = inputs.get(replies.input)
    parts = split_message(message) if isinstance(message, str) else []
    by_keyword = {
        _normal(keyword): answer.text for answer in replies.answers for keyword in answer.keywords
    }
    texts = [by_keyword.get(_normal(part)) for part in parts]
    if not texts or None in texts:
        return None
    values = {"date": f"{now:%Y-%m-%d}", "time": f"{now:%H:%M}", "weekday": f"{now:%A}"}
    answer = "\n\n".join(dict.fromkeys(text for text in texts if text))
    return _PLACEHOLDER.sub(lambda match: values[match[1]], answer)


def reply_faults(replies: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[Violation]:
    """Return what is wrong with replies, given the crew's inputs; both are plain data."""
    name = replies.get("input")
    if isinstance(name, str) and name not in properties:
        there = ", ".join(properties) or "none"
        yield Violation("replies.input", f"no input is named {name!r}; there are: {there}")
    seen: dict[str, int] = {}
    answers = replies.get("answers")
    for index, answer in enumerate(answers if isinstance(answers, list) else ()):
        place = f"replies.answers[{index}]"
        if not isinstance(answer, Mapping):
            continue
        for unknown in sorted(set(_PLACEHOLDER.findall(str(answer.get("text")))) - PLACEHOLDERS):
            known = ", ".join(f"{{{name}}}" for name in sorted(PLACEHOLDERS))
            yield Violation(f"{place}.text", f"{{{unknown}}} can't be filled in; {known} can")
        keywords = answer.get("keywords")
        for keyword in keywords if isinstance(keywords, list) else ():
            normal = _normal(str(keyword))
            if not normal:
                yield Violation(f"{place}.keywords", f"{keyword!r} holds no word")
            elif normal in seen:
                yield Violation(f"{place}.keywords", f"{keyword!r} is one of answer {seen[normal]}")
            seen.setdefault(normal, index)


def _normal(text: str) -> str:
    words = [word.replace("\u2019", "'") for word in _WORD.findall(text.casefold())]
    return " ".join(word for word in words if word not in _POLITE) or " ".join(words)
