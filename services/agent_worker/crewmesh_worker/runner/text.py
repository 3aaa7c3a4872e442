"""Texts as they may be stored and shown."""

from __future__ import annotations

import json
from typing import Any, Final

MAX_CHARACTERS: Final = 8000


def storable(text: str) -> str:
    """Return the text without what UTF-8 or Postgres can't hold: lone surrogates and NUL."""
    if "\x00" in text:
        text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode(errors="replace").decode()
    return text


def put_text(payload: dict[str, Any], name: str, value: object) -> dict[str, Any]:
    """Add a text to a payload and return it; a long one is cut, and "truncated" says so."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS]
        payload["truncated"] = True
    payload[name] = storable(text)
    return payload


def put_json(payload: dict[str, Any], name: str, value: object) -> dict[str, Any]:
    """Add a value to a payload as it is, or as text where it is no JSON or too long."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        small = len(text) <= MAX_CHARACTERS and storable(text) == text
    except (TypeError, ValueError):
        text, small = str(value), False
    if small and "\\u0000" not in text:
        payload[name] = value
        return payload
    return put_text(payload, name, text)
