"""Structured queries: a verb and its values, such as `weather city=Lisbon days=3`.

    query = verb pair...      pair = key "=" value
    value = text up to the next key, or in quotes

What each verb takes is what the tool behind it takes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_MAX_CHARACTERS = 500
_MAX_DAYS = 16
_QUERY = re.compile(r"\s*([A-Za-z]+)\s+[A-Za-z_]+\s*=")
_KEY = re.compile(r"(?:^|\s)([A-Za-z_]+)\s*=\s*")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


class QueryError(ValueError):
    """A query can't be understood; the message says what is wrong and what would be right."""


@dataclass(frozen=True)
class Key:
    """What a key of a query is called by the tool, and how its value is read."""

    argument: str
    read: Callable[[str], Any]
    example: str
    required: bool = False


@dataclass(frozen=True)
class Query:
    """A query that has been understood: the tool that answers it, and its arguments."""

    verb: str
    tool: str
    arguments: dict[str, Any]


def _text(value: str) -> str:
    return value


def _days(value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= _MAX_DAYS:
        raise QueryError(f"a whole number from 1 to {_MAX_DAYS} is needed")
    return int(value)


def _amount(value: str) -> float:
    try:
        amount = float(value.replace(",", ""))
    except ValueError:
        amount = 0.0
    if not 0 < amount <= 1e15:
        raise QueryError("a number greater than 0 is needed")
    return amount


def _code(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{3}", value):
        raise QueryError("a currency's three letters are needed, such as EUR")
    return value.upper()


def _codes(value: str) -> list[str]:
    return [_code(code.strip()) for code in value.split(",")]


VERBS: dict[str, tuple[str, dict[str, Key]]] = {
    "weather": (
        "get_weather",
        {
            "city": Key("city", _text, "Lisbon", required=True),
            "country": Key("country", _text, "Portugal"),
            "days": Key("days", _days, "3"),
        },
    ),
    "time": (
        "get_time",
        {
            "city": Key("city", _text, "Tokyo", required=True),
            "country": Key("country", _text, "Japan"),
        },
    ),
    "convert": (
        "convert_currency",
        {
            "from": Key("source", _code, "EUR", required=True),
            "to": Key("targets", _codes, "USD,JPY", required=True),
            "amount": Key("amount", _amount, "100"),
        },
    ),
    "topic": ("look_up_topic", {"about": Key("topic", _text, "gRPC", required=True)}),
}


def is_query(text: str) -> bool:
    """Return whether a text is meant as a query: a word, then a key with "="."""
    return _QUERY.match(text) is not None


def parse_query(text: str) -> Query:
    """Return the query that a text is; raise QueryError for anything else."""
    text = text.strip()
    verb, _, rest = text.partition(" ")
    if len(text) > _MAX_CHARACTERS:
        raise QueryError(f"a query has at most {_MAX_CHARACTERS} characters")
    if verb.lower() not in VERBS:
        raise QueryError(
            f"there is no query {verb!r}{_meant(verb, VERBS)}; there are: "
            + "; ".join(_usage(name) for name in VERBS)
        )
    verb = verb.lower()
    tool, keys = VERBS[verb]
    arguments: dict[str, Any] = {}
    for name, value in _pairs(verb, rest):
        key = keys.get(name)
        if key is None:
            raise QueryError(f"{verb} has no {name!r}{_meant(name, keys)}; it is {_usage(verb)}")
        if key.argument in arguments:
            raise QueryError(f"{name!r} is given twice")
        arguments[key.argument] = _value(name, value, key)
    missing = [n for n, key in keys.items() if key.required and key.argument not in arguments]
    if missing:
        raise QueryError(f"{verb} needs {' and '.join(missing)}; it is {_usage(verb)}")
    return Query(verb, tool, arguments)


def _pairs(verb: str, text: str) -> Iterable[tuple[str, str]]:
    """Return keys and values; what is in quotes holds no keys."""
    hidden = _QUOTED.sub(lambda match: "\x00" * len(match[0]), text)
    if hidden.count('"') or re.search(r"=\s*'", hidden):
        raise QueryError("a quotation mark is not closed")
    keys = list(_KEY.finditer(hidden))
    before = text[: keys[0].start()] if keys else text
    if before.strip():
        raise QueryError(f"{before.strip()!r} has no key in front of it; it is {_usage(verb)}")
    for key, following in zip(keys, [*keys[1:], None], strict=False):
        end = following.start() if following else len(text)
        yield key[1].lower(), text[key.end() : end].strip()


def _value(name: str, text: str, key: Key) -> Any:
    value = text[1:-1] if _QUOTED.fullmatch(text) else text
    if not value.strip():
        raise QueryError(f"{name} has no value; an example is {name}={key.example}")
    try:
        return key.read(value.strip())
    except QueryError as error:
        raise QueryError(f"{name}={text}: {error}") from error


def _usage(verb: str) -> str:
    pairs = (
        f"{name}={key.example}" if key.required else f"[{name}={key.example}]"
        for name, key in VERBS[verb][1].items()
    )
    return f"`{verb} {' '.join(pairs)}`"


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
