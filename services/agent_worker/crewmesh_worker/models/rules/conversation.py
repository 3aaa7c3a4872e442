"""What a chat with tools says: the task, its context, and the results so far."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# As CrewAI words its prompts; a prompt without them is a task as a whole.
_TASK = re.compile(r"Current Task: (.*)", re.DOTALL)
_EXPECTED = re.compile(r"\n+This is the expected criteria for your final answer: ")
_EXPECTED_END = re.compile(r"\nyou MUST return the actual complete content[^\n]*")
_CONTEXT = re.compile(r"\n+This is the context you're working with:\n")
_FEEDBACK = re.compile(r"^User feedback: (.*?)\nInstructions: ", re.DOTALL)
_NO_TOOLS_END = "\n\nProvide your complete response:"


@dataclass(frozen=True)
class ToolResult:
    """What one tool call returned."""

    tool: str
    arguments: dict[str, Any]
    text: str

    @property
    def failed(self) -> bool:
        """Whether the tool refused or broke, or CrewAI didn't let it be called."""
        return self.text.startswith(("Error", "Tool execution blocked"))

    @property
    def value(self) -> Any:
        """The returned JSON, or None where it is something else."""
        try:
            return json.loads(self.text)
        except json.JSONDecodeError:
            return None


@dataclass(frozen=True)
class Conversation:
    """One task as the model is given it. `tools` maps names to argument schemas.

    `feedback` is what people said of its results so far.
    """

    task: str
    context: str
    tools: dict[str, dict[str, Any]]
    results: list[ToolResult]
    feedback: tuple[str, ...] = ()

    @property
    def named_tools(self) -> list[str]:
        """The tools that the task names, in the order of their first mention."""
        places = {name: re.search(rf"\b{re.escape(name)}\b", self.task) for name in self.tools}
        return sorted(
            (name for name, place in places.items() if place),
            key=lambda name: _start(places[name]),
        )

    def results_of(self, tool: str) -> list[ToolResult]:
        """Return the results of one tool, in order."""
        return [result for result in self.results if result.tool == tool]

    def tagged(self, tag: str) -> str:
        """Return the text between <tag> and </tag> in the task; empty where there is none."""
        match = re.search(rf"<{tag}>(.*?)</{tag}>", self.task, re.DOTALL)
        return match.group(1).strip() if match else ""


def read_conversation(
    messages: str | Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None
) -> Conversation:
    """Return what chat messages and tool schemas, both in OpenAI's form, say."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    prompt = next((m["content"] for m in messages if m["role"] == "user"), "")
    task, context = _split(str(prompt))
    schemas = {t["function"]["name"]: t["function"]["parameters"] for t in tools or ()}
    said = (_FEEDBACK.match(str(m["content"])) for m in messages if m["role"] == "user")
    feedback = tuple(match.group(1) for match in said if match)
    return Conversation(task, context, schemas, _results(messages), feedback)


def _split(prompt: str) -> tuple[str, str]:
    match = _TASK.search(prompt)
    text = (match.group(1) if match else prompt).removesuffix(_NO_TOOLS_END)
    text, _, context = _partition(_CONTEXT, text)
    task, _, _ = _partition(_EXPECTED, text)
    return task.strip(), _EXPECTED_END.sub("", context).strip()


def _partition(pattern: re.Pattern[str], text: str) -> tuple[str, str, str]:
    match = pattern.search(text)
    if match is None:
        return text, "", ""
    return text[: match.start()], match.group(), text[match.end() :]


def _results(messages: Sequence[dict[str, Any]]) -> list[ToolResult]:
    calls: dict[str, dict[str, Any]] = {}
    results = []
    for message in messages:
        for call in message.get("tool_calls") or ():
            calls[call["id"]] = call["function"]
        if message["role"] == "tool" and message["tool_call_id"] in calls:
            function = calls[message["tool_call_id"]]
            arguments = json.loads(function["arguments"])
            results.append(ToolResult(function["name"], arguments, str(message["content"])))
    return results


def _start(match: re.Match[str] | None) -> int:
    return match.start() if match else -1
