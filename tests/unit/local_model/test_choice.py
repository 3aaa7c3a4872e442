from __future__ import annotations

from typing import Any

import pytest

from crewmesh_worker.local_model.choice import Choice, choice_of, selection_grammar

TOOLS = [{"function": {"name": name, "parameters": {}}} for name in ("add", "sub")]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


@pytest.mark.parametrize(
    ("request_", "made", "expected"),
    [
        ({}, "", Choice()),
        ({"tools": TOOLS}, "", Choice(("add", "sub"))),
        ({"tools": TOOLS}, "ab", Choice(("add", "sub"))),
        ({"tools": TOOLS}, "abc", Choice()),
        # The same call twice in a row.
        ({"tools": TOOLS}, "aa", Choice()),
        ({"tools": TOOLS, "tool_choice": "none"}, "", Choice()),
        (
            {"tools": TOOLS, "tool_choice": "required"},
            "aaaa",
            Choice(("add", "sub"), must_call=True),
        ),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "sub"}}},
            "aaaa",
            Choice(("sub",), must_call=True),
        ),
        ({"response_format": FORMAT}, "", Choice(schema=SCHEMA)),
        ({"tools": TOOLS, "response_format": FORMAT}, "", Choice(("add", "sub"), schema=SCHEMA)),
        ({"tools": TOOLS, "response_format": FORMAT}, "abc", Choice(schema=SCHEMA)),
        ({"response_format": {"type": "json_object"}}, "", Choice(schema={"type": "object"})),
        ({"response_format": {"type": "text"}}, "", Choice()),
    ],
)
def test_what_a_request_leaves_open(request_: dict[str, Any], made: str, expected: Choice) -> None:
    calls = [{"function": {"name": "add", "arguments": argument}} for argument in made]
    messages = [{"role": "assistant", "tool_calls": [call]} for call in calls]
    assert choice_of({**request_, "messages": messages}, max_tool_calls=3) == expected


def test_an_answer_is_among_the_options_unless_a_call_is_asked_for() -> None:
    assert selection_grammar(Choice(("add",))) == 'root ::= "add" | "answer"'
    assert selection_grammar(Choice(("add",), must_call=True)) == 'root ::= "add"'
