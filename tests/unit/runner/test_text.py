from __future__ import annotations

import json
from datetime import date

import pytest

from crewmesh_worker.runner.text import put_json, put_text, storable


@pytest.mark.parametrize(
    ("text", "stored"),
    [("Zoë 😀", "Zoë 😀"), ("a\x00b", "a\N{REPLACEMENT CHARACTER}b"), ("lone \ud800", "lone ?")],
)
def test_what_postgres_or_utf8_cannot_hold_is_replaced(text: str, stored: str) -> None:
    assert storable(text) == stored


def test_a_long_text_is_cut_and_says_so() -> None:
    assert put_text({}, "output", "x" * 8_000) == {"output": "x" * 8_000}
    assert put_text({}, "output", "x" * 8_001) == {"output": "x" * 8_000, "truncated": True}


def test_what_is_no_text_is_shown_as_one() -> None:
    assert put_text({}, "output", 3.5) == {"output": "3.5"}


def test_a_json_value_stays_as_it_is() -> None:
    value = {"sql": "SELECT 1", "limit": 5, "columns": ["a", None]}
    assert put_json({}, "arguments", value) == {"arguments": value}


@pytest.mark.parametrize(
    "value",
    [{"when": date(2026, 1, 1)}, {"x": float("nan")}, {"x": "\x00"}, {"x": "\ud800"}],
    ids=["no JSON", "no number in JSON", "NUL", "lone surrogate"],
)
def test_a_value_that_cannot_be_stored_becomes_text_that_can(value: object) -> None:
    payload = put_json({}, "arguments", value)
    assert isinstance(payload["arguments"], str)
    stored = json.dumps(payload, ensure_ascii=False, allow_nan=False).encode()
    assert b"\x00" not in stored


def test_a_long_value_becomes_a_cut_text() -> None:
    payload = put_json({}, "arguments", {"text": "x" * 9_000})
    assert len(payload["arguments"]) == 8_000
    assert payload["truncated"] is True
