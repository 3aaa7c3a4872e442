"""JSON by the letter: every key once, nothing that JSON doesn't have."""

from __future__ import annotations

import json
import re
from typing import Any

from crewmesh.common.documents.places import Place, show_place
from crewmesh.common.documents.values import (
    MAX_DEPTH,
    MAX_VALUES,
    decode,
    refusal,
    value_faults,
)
from crewmesh.common.errors import InvalidInputError, Violation

# A string, or what JSON with comments has and JSON hasn't.
_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\r\n]*|/\*.*?\*/', re.DOTALL)
_STRING_OR_COMMA = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)


class _Members(list[tuple[str, Any]]):
    """An object as it is written, a key as often as it is there."""


def read_json(content: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises InvalidInputError (INVALID_DOCUMENT) with every fault and its place.
    """
    text = decode(content)
    try:
        value = json.loads(text, object_pairs_hook=_Members, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        fault = f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise refusal([Violation(show_place(()), fault)]) from None
    except RecursionError:
        raise refusal([_too_deep()]) from None
    except ValueError as error:
        raise refusal([Violation(show_place(()), f"not JSON: {error}")]) from None
    reader = _Reader()
    plain = reader.read(value, ())
    if faults := [*reader.faults, *value_faults(plain)]:
        raise refusal(faults)
    return plain


def read_value(text: str, place: str, max_depth: int = 64) -> Any:
    """Return the value of JSON that a message's field carries; `place` names the field.

    Raises InvalidInputError for what isn't JSON, and for what could not be stored and passed on
    unchanged.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise _unfit(place, f"nested more than {max_depth} levels deep") from None
    except ValueError as error:
        raise _unfit(place, f"not JSON: {error}") from None
    if is_deeper(value, max_depth):
        raise _unfit(place, f"nested more than {max_depth} levels deep")
    if faults := [Violation(f"{place}.{f.field}", f.message) for f in value_faults(value)]:
        raise InvalidInputError(f"{place} can't be stored", violations=faults)
    return value


def is_deeper(value: Any, limit: int) -> bool:
    """Tell whether lists and objects are nested more than `limit` levels deep."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(limit):
        if not level:
            return False
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, (dict, list))
        ]
    return bool(level)


def _unfit(place: str, fault: str) -> InvalidInputError:
    return InvalidInputError(f"{place} can't be read", violations=[Violation(place, fault)])


def strip_comments(text: str) -> str:
    """Return JSON with comments as JSON; what is left stays on its line and column."""

    def blank(match: re.Match[str]) -> str:
        found = match.group()
        return found if found.startswith('"') else re.sub(r"[^\r\n]", " ", found)

    return _STRING_OR_COMMA.sub(blank, _STRING_OR_COMMENT.sub(blank, text))


class _Reader:
    def __init__(self) -> None:
        self.faults: list[Violation] = []
        self._count = 0

    def read(self, value: Any, place: Place) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise refusal([Violation(show_place(()), f"holds more than {MAX_VALUES:,} values")])
        if len(place) > MAX_DEPTH:
            raise refusal([_too_deep()])
        if isinstance(value, _Members):
            return self._read_object(value, place)
        if isinstance(value, list):
            return [self.read(item, (*place, index)) for index, item in enumerate(value)]
        return value

    def _read_object(self, members: _Members, place: Place) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in members:
            if key in plain:
                self.faults.append(Violation(show_place((*place, key)), "this key is there twice"))
            plain[key] = self.read(item, (*place, key))
        return plain


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _too_deep() -> Violation:
    return Violation(show_place(()), f"nested more than {MAX_DEPTH} levels deep")
