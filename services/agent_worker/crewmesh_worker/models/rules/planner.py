"""The next step in a task: one more tool call, or the answer.

A task's tools are used in the order in which the task names them. How a tool is used is
a rule of its own; a tool without one is called once, with what its schema lets us fill.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crewmesh_worker.models.rules.conversation import Conversation, ToolResult

NAME = "Crewmesh's offline model"
_DISCLAIMER = f"This is {NAME}: it follows rules and is no language model."


@dataclass(frozen=True)
class Call:
    """A tool to be called."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """How a tool is used for a task, and how its results answer that."""

    # Every call that the task needs, as far as it is known by now.
    calls: Callable[[Conversation], list[dict[str, Any]]]
    answer: Callable[[Conversation], str]


def next_step(conversation: Conversation, rules: dict[str, Rule]) -> Call | str:
    """Return the tool call to make now, or the answer when there is none left."""
    named = conversation.named_tools
    for tool in named:
        calls = _rule(tool, rules).calls(conversation)
        done = len(conversation.results_of(tool))
        if done < len(calls):
            return Call(tool, calls[done])
    return _rule(named[-1], rules).answer(conversation) if named else _without_tools(conversation)


def _rule(tool: str, rules: dict[str, Rule]) -> Rule:
    return rules.get(tool) or Rule(lambda c: generic_calls(c, tool), generic_answer)


def generic_calls(conversation: Conversation, tool: str) -> list[dict[str, Any]]:
    """Return one call, when the task gives each argument without a default as <name>value</name>."""
    properties = conversation.tools[tool].get("properties", {})
    given = {name: conversation.tagged(name) for name in properties}
    arguments = {name: value for name, value in given.items() if value}
    needed = {name for name, schema in properties.items() if "default" not in schema}
    return [arguments] if needed <= arguments.keys() else []


def generic_answer(conversation: Conversation) -> str:
    """Return every result as it is."""
    if not conversation.results:
        return _without_tools(conversation)
    parts = [_say_result(result) for result in conversation.results]
    return "\n\n".join([*parts, _DISCLAIMER])


def _say_result(result: ToolResult) -> str:
    outcome = "failed" if result.failed else "answered"
    return f"`{result.tool}` {outcome}:\n\n{result.text}"


def _without_tools(conversation: Conversation) -> str:
    quoted = " ".join(conversation.task.split())
    return (
        f"{_DISCLAIMER} The task was: “{quoted}” It names no tool that rules could call for it, so "
        "there is nothing to add; with CREWMESH_MODEL set to a language model, that one answers."
    )
