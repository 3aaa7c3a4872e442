from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from crewmesh_worker.local_model.structured import complete_json

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "sql": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1},
        "kind": {"enum": ["bar", "line"]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "inner": {"$ref": "#/$defs/Inner"},
        "note": {"anyOf": [{"type": "null"}, {"type": "string"}]},
    },
    "required": ["sql", "limit", "kind", "tags", "inner", "note"],
    "additionalProperties": False,
    "$defs": {
        "Inner": {
            "type": "object",
            "properties": {"on": {"type": "boolean"}},
            "required": ["on"],
        }
    },
}
SMALLEST = {
    "sql": "",
    "limit": 1,
    "kind": "bar",
    "tags": [""],
    "inner": {"on": False},
    "note": None,
}
WHOLE = (
    '{"sql": "SELECT 1", "limit": 5, "kind": "line", "tags": ["a"], '
    '"inner": {"on": true}, "note": "n"}'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"sql": "SELECT 1", "limit": 5, "kind": "li', {"sql": "SELECT 1", "limit": 5}),
        ('{"sql": "SELECT 1 FROM', {"sql": "SELECT 1 FROM"}),
        ('{"sql": "x", "inner": {', {"sql": "x"}),
        ("{", {}),
        ("", {}),
        ("nonsense", {}),
        ('{"limit": "many"', {}),
    ],
)
def test_what_was_cut_off_is_kept_and_the_rest_is_the_smallest(
    text: str, expected: dict[str, Any]
) -> None:
    value = complete_json(text, SCHEMA)
    assert value == {**SMALLEST, **expected}


@given(st.integers(0, len(WHOLE)))
def test_whatever_is_cut_off_the_result_fits_the_schema(length: int) -> None:
    assert Draft202012Validator(SCHEMA).is_valid(complete_json(WHOLE[:length], SCHEMA))


LONG: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 3}]},
        "list": {"type": "array", "maxItems": 2, "items": {"type": "string", "maxLength": 1}},
        "one": {"type": "string", "minLength": 1},
    },
    "required": ["text", "list", "one"],
}


def test_what_is_longer_than_the_schema_allows_is_cut() -> None:
    text = '{"text": "abcdef", "list": ["a", "bcd", "e"], "one": ""}'
    assert complete_json(text, LONG) == {"text": "abc", "list": ["a", "b"], "one": "-"}
