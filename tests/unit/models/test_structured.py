"""The offline model's answers in the form that a schema asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from crewmesh_worker.models.rules.conversation import Conversation, ToolResult
from crewmesh_worker.models.rules.structured import fill


def filled(properties: dict[str, Any], task: str = "", **more: Any) -> dict[str, Any]:
    results = [ToolResult("t", {}, json.dumps(result)) for result in more.pop("results", [])]
    schema = {"type": "object", "properties": properties, "required": list(properties), **more}
    answer: dict[str, Any] = json.loads(
        fill(schema, Conversation(task, "", {}, results), "the answer")
    )
    Draft202012Validator(schema).validate(answer)
    return answer


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "the answer"),
        ({"type": "string", "maxLength": 3}, "the"),
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 4}, 4),
        ({"type": "number", "exclusiveMinimum": 4}, 5),
        ({"type": "boolean"}, True),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"type": ["integer", "null"]}, 0),
        ({"enum": ["calm", "angry"]}, "angry"),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ({"type": "string", "format": "date"}, "1970-01-01"),
        ({"type": "object", "properties": {"y": {"type": "integer"}}}, {"y": 0}),
        ({"$ref": "#/$defs/N"}, 0),
    ],
)
def test_a_field_gets_a_value_of_its_type(schema: dict[str, Any], value: Any) -> None:
    definitions = {"$defs": {"N": {"type": "integer"}}}
    assert filled({"x": schema}, "They are angry.", **definitions) == {"x": value}


def test_the_answer_is_said_once() -> None:
    text = {"type": "string"}
    assert filled({"a": text, "b": text}) == {"a": "the answer", "b": ""}


def test_what_the_task_or_a_tool_gives_by_name_is_taken() -> None:
    properties = {"city": {"type": "string"}, "days": {"type": "integer"}, "x": {"type": "integer"}}
    answer = filled(properties, "For <city>Lisbon</city>", results=[{"days": 3, "x": "no number"}])
    assert answer == {"city": "Lisbon", "days": 3, "x": 0}
