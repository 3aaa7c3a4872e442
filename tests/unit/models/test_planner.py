"""The next step in a task, whatever the tools are."""

from __future__ import annotations

import json
from typing import Any

from crewmesh_worker.models.rules.conversation import read_conversation
from crewmesh_worker.models.rules.planner import Call, Rule, next_step

PROMPT = (
    "\nCurrent Task: {task}\n\nThis is the expected criteria for your final answer: a line"
    "\nyou MUST return the actual complete content as the final answer, not a summary."
    "\n\nThis is the context you're working with:\nWhat came before."
)


def schema(name: str, **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def chat(task: str, *steps: tuple[str, dict[str, Any], str]) -> list[dict[str, Any]]:
    """Return a chat about a task, with the tool calls that were made and their results."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are somebody."},
        {"role": "user", "content": PROMPT.format(task=task)},
    ]
    for number, (tool, arguments, result) in enumerate(steps):
        function = {"name": tool, "arguments": json.dumps(arguments)}
        call = {"id": f"c{number}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append(
            {"role": "tool", "tool_call_id": f"c{number}", "name": tool, "content": result}
        )
    return messages


def test_task_and_context_are_told_apart() -> None:
    conversation = read_conversation(chat("Do <what>this\nthing</what> now."), None)
    assert conversation.task == "Do <what>this\nthing</what> now."
    assert conversation.context == "What came before."
    assert conversation.tagged("what") == "this\nthing"
    assert conversation.tagged("who") == ""


def test_a_prompt_of_another_make_is_a_task_as_a_whole() -> None:
    assert read_conversation("Just say it.", None).task == "Just say it."


def test_tools_are_called_in_the_order_in_which_the_task_names_them() -> None:
    tools = [schema("zoom"), schema("aim"), schema("idle")]
    task = "First aim, then zoom."
    assert next_step(read_conversation(chat(task), tools), {}) == Call("aim", {})
    after = chat(task, ("aim", {}, "aimed"))
    assert next_step(read_conversation(after, tools), {}) == Call("zoom", {})


def test_arguments_come_from_the_task() -> None:
    tools = [schema("look_up", city={"type": "string"}, unit={"type": "string", "default": "C"})]
    step = next_step(read_conversation(chat("look_up <city>Oslo</city>"), tools), {})
    assert step == Call("look_up", {"city": "Oslo"})


def test_a_tool_whose_arguments_are_not_given_is_not_called_and_that_is_said() -> None:
    tools = [schema("look_up", city={"type": "string"})]
    step = next_step(read_conversation(chat("Use look_up."), tools), {})
    assert isinstance(step, str)
    assert "no language model" in step


def test_results_are_answered_with_failures_named() -> None:
    conversation = read_conversation(
        chat("aim and zoom", ("aim", {}, "on target"), ("zoom", {}, "Error executing tool: stuck")),
        [schema("aim"), schema("zoom")],
    )
    answer = next_step(conversation, {})
    assert isinstance(answer, str)
    assert "`aim` answered:\n\non target" in answer
    assert "`zoom` failed:\n\nError executing tool: stuck" in answer
    assert "no language model" in answer


def test_a_rule_decides_how_often_its_tool_is_called() -> None:
    rules = {"aim": Rule(lambda _: [{"at": 1}, {"at": 2}], lambda c: f"{len(c.results)} times")}
    tools = [schema("aim")]
    once = chat("aim", ("aim", {"at": 1}, "ok"))
    twice = chat("aim", ("aim", {"at": 1}, "ok"), ("aim", {"at": 2}, "ok"))
    assert next_step(read_conversation(once, tools), rules) == Call("aim", {"at": 2})
    assert next_step(read_conversation(twice, tools), rules) == "2 times"


def test_a_task_without_tools_is_answered_honestly() -> None:
    answer = next_step(read_conversation(chat("Introduce gRPC."), None), {})
    assert isinstance(answer, str)
    assert "no language model" in answer
    assert "“Introduce gRPC.”" in answer
