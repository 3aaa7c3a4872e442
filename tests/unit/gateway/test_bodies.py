from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from crewmesh_gateway.bodies import MAX_DEPTH, dump_json, parse_json

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda children: st.lists(children) | st.dictionaries(TEXT, children),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_json_is_parsed_and_written_again_unchanged(value: Any) -> None:
    parsed = parse_json(json.dumps(value).encode())

    assert parsed == value
    assert json.loads(dump_json(parsed)) == value


@given(st.binary())
def test_any_bytes_are_a_value_or_refused(content: bytes) -> None:
    with suppress(HTTPException, RequestValidationError):
        parse_json(content)


@pytest.mark.parametrize("text", ['"\\\\u0000"', '"\\\\\\\\u0000"', '"\\ud83d\\ude00"', "1e308"])
def test_what_only_looks_unfit_is_taken(text: str) -> None:
    assert parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", ['"\\u0000"', '"\\\\\\u0000"', '"\\ud83d"', "NaN", "-1e309"])
def test_what_cannot_be_passed_on_is_refused(text: str) -> None:
    with pytest.raises(RequestValidationError):
        parse_json(text.encode())


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_the_depth_limit_is_exact(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    deepest = opening * (MAX_DEPTH - 1) + "[]" + closing * (MAX_DEPTH - 1)

    parse_json(deepest.encode())
    with pytest.raises(RequestValidationError):
        parse_json(f"[{deepest}]".encode())
