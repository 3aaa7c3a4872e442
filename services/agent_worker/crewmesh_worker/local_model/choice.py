"""What the model may write next: free text, JSON of a schema, or a call of a tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

ANY_OBJECT: Final[dict[str, Any]] = {"type": "object"}
# Free text, where a tool could be called.
ANSWER: Final = "answer"


@dataclass(frozen=True)
class Choice:
    """What a request leaves open.

    `tools` are the names of those that may be called; with `must_call` one has to be. An answer
    is text, or JSON of `schema`.
    """

    tools: tuple[str, ...] = ()
    must_call: bool = False
    schema: dict[str, Any] | None = None


def choice_of(request: dict[str, Any], max_tool_calls: int) -> Choice:
    """Return what a chat completion's request leaves open.

    Who has called often enough, or just the same twice, has to answer: a small model would go on.
    """
    schema = _schema_of(request.get("response_format"))
    names = tuple(tool["function"]["name"] for tool in request.get("tools") or ())
    wanted = request.get("tool_choice", "auto")
    if isinstance(wanted, dict):
        name = wanted["function"]["name"]
        return Choice(tuple(known for known in names if known == name), must_call=True)
    if wanted == "required" and names:
        return Choice(names, must_call=True)
    calls = _calls_of(request.get("messages") or ())
    repeated = len(calls) > 1 and calls[-1] == calls[-2]
    if names and wanted != "none" and len(calls) < max_tool_calls and not repeated:
        return Choice(names, schema=schema)
    return Choice(schema=schema)


def parameters_of(tools: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the schema of a tool's arguments."""
    for tool in tools:
        if tool["function"]["name"] == name:
            return tool["function"].get("parameters") or ANY_OBJECT
    raise KeyError(name)


def selection_grammar(choice: Choice) -> str:
    """Return the grammar (GBNF) of which tool to call, or whether to answer."""
    options = [*choice.tools, *(() if choice.must_call else (ANSWER,))]
    return "root ::= " + " | ".join(f'"{option}"' for option in options)


def _calls_of(messages: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the tool calls that have been made, each its tool and its arguments as JSON."""
    return [
        (call["function"]["name"], call["function"]["arguments"])
        for message in messages
        for call in message.get("tool_calls") or ()
    ]


def _schema_of(response_format: Any) -> dict[str, Any] | None:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_schema":
        schema = response_format.get("json_schema", {}).get("schema")
        return schema if isinstance(schema, dict) else ANY_OBJECT
    return ANY_OBJECT if response_format.get("type") == "json_object" else None
