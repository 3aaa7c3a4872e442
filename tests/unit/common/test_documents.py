"""YAML and JSON from people: read strictly, written in one form, their lines found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewmesh.common.documents import (
    find_lines,
    read_json,
    read_yaml,
    show_place,
    strip_comments,
    write_yaml,
)
from crewmesh.common.errors import InvalidInputError

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
WORDS = st.sampled_from(
    ["yes", "~", "1e3", "0o7", "12:30", "<<", "=", "- x", "a: b", "# c", "x\n ", ""]
)
VALUES = st.recursive(
    TEXTS
    | WORDS
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | WORDS, inner, max_size=3),
    max_leaves=8,
)


def faults_of(read: Any, text: Any) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as raised:
        read(text)
    assert raised.value.reason == "INVALID_DOCUMENT"
    return {violation.field: violation.message for violation in raised.value.violations}


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_what_is_written_is_read_as_the_same(value: Any) -> None:
    assert read_yaml(write_yaml(value)) == value


def test_the_written_form_is_for_people() -> None:
    value = {"b": "one\ntwo\n", "a": [{"x": 1}, "yes"], "c": "Ünïcode", "d": [], "e": None}
    assert write_yaml(value) == (
        "b: |\n  one\n  two\na:\n  - x: 1\n  - 'yes'\nc: Ünïcode\nd: []\ne: null\n"
    )


def test_plain_scalars_are_those_of_yaml_1_2() -> None:
    text = "[~, true, 010, 1.5, 1e3, yes, 12:30, 2026-11-23, 0x1f, 1_000, =, 'true']"
    assert read_yaml(text) == [
        None, True, 10, 1.5, 1000.0, "yes", "12:30", "2026-11-23", "0x1f", "1_000", "=", "true",
    ]  # fmt: skip


def test_aliases_and_merges_work_within_bounds() -> None:
    assert read_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a]\n") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": [{"x": 1, "y": 2}],
    }
    assert read_yaml("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}\n")["c"] == {
        "x": 1,
        "y": 2,
    }


def test_every_key_that_is_there_twice_is_told_with_its_place() -> None:
    assert faults_of(read_json, '{"a": {"b": 1, "b": 2}, "a": 3}').keys() == {"a.b", "a"}
    faults = faults_of(read_yaml, "a:\n  - b: 1\n    b: 2\na: 3\n")
    assert faults["a[0].b"].endswith("(again in line 3)")
    assert "a" in faults


def test_a_file_with_a_byte_order_mark_is_read() -> None:
    assert read_yaml("a: 1".encode("utf-8-sig")) == {"a": 1}
    assert read_json(b"\xef\xbb\xbf{}") == {}


def test_comments_go_and_everything_else_stays_in_its_place() -> None:
    text = '{ // "x"\n  "a": "// no /* no", /* one\ntwo */ "b": [1, 2,],\n}'
    stripped = strip_comments(text)
    assert [len(line) for line in stripped.split("\n")] == [len(line) for line in text.split("\n")]
    assert read_json(stripped) == {"a": "// no /* no", "b": [1, 2]}


def test_lines_are_those_of_keys_and_items() -> None:
    assert find_lines("a: 1\nb:\n  - c: 2\n  - 3\n") == {
        (): 1, ("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 0, "c"): 3, ("b", 1): 4,
    }  # fmt: skip
    assert find_lines('{\n\t"a": [\n\t\t1]}')[("a", 0)] == 3
    assert find_lines("a: [") == {}


@pytest.mark.parametrize(
    ("place", "shown"),
    [((), "(the whole)"), (("a",), "a"), (("a", 1, "b"), "a[1].b"), ((0, "b"), "[0].b")],
)
def test_places_are_shown_as_people_write_them(place: Any, shown: str) -> None:
    assert show_place(place) == shown
