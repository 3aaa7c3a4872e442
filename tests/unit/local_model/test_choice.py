from __future__ import annotations

from typing import Any

import pytest

from crewmesh_worker.local_model.choice import Choice, choice_of, selection_grammar

TOOLS = [{"function": {"name": name, "parameters": {}}} for name in ("add", "sub")]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


@pytest.mark.parametrize(
    ("request_", "results", "expected"),
    [
        ({}, 0, Choice()),
        ({"tools": TOOLS}, 0, Choice(("add", "sub"))),
        ({"tools": TOOLS}, 2, Choice()),
        ({"tools": TOOLS, "tool_choice": "none"}, 0, Choice()),
        ({"tools": TOOLS, "tool_choice": "required"}, 9, Choice(("add", "sub"), must_call=True)),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "sub"}}},
            9,
            Choice(("sub",), must_call=True),
        ),
        ({"response_format": FORMAT}, 0, Choice(schema=SCHEMA)),
        ({"response_format": {"type": "json_object"}}, 0, Choice(schema={"type": "object"})),
        ({"response_format": {"type": "text"}}, 0, Choice()),
    ],
)
def test_what_a_request_leaves_open(
    request_: dict[str, Any], results: int, expected: Choice
) -> None:
    assert choice_of(request_, results, max_tool_calls=2) == expected


def test_an_answer_is_among_the_options_unless_a_call_is_asked_for() -> None:
    assert selection_grammar(Choice(("add",))) == 'root ::= "add" | "answer"'
    assert selection_grammar(Choice(("add",), must_call=True)) == 'root ::= "add"'
