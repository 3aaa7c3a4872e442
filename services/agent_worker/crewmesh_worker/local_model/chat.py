"""OpenAI's chat messages as a prompt that a small model can take.

Everything here is plain: no model is loaded. What is longer than the context is cut where it
is longest, in the middle, with a note that says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

# What a tokenizer takes for the frame of the chat.
_MARKER: Final = re.compile(r"<\|(?=[A-Za-z_]+\|>)")
_CUT_NOTE: Final = "\n(... cut: longer than the local model can read ...)\n"
_ROUNDS: Final = 12


@dataclass(frozen=True)
class ChatMessage:
    """One message: its role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Prompt:
    """The text for the model, and how many of the asked tokens are not in it."""

    text: str
    tokens: int
    cut_tokens: int


def read_messages(
    messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]
) -> list[ChatMessage]:
    """Return messages in OpenAI's form as plain text, with the tools told in the first."""
    read = [_read(message) for message in messages]
    if tools:
        told = _describe_tools(tools)
        if read and read[0].role == "system":
            read[0] = replace(read[0], content=f"{read[0].content}\n\n{told}")
        else:
            read.insert(0, ChatMessage("system", told))
    return read


def fit_prompt(
    messages: Sequence[ChatMessage],
    render: Callable[[Sequence[ChatMessage]], str],
    count: Callable[[str], int],
    max_tokens: int,
) -> Prompt:
    """Return the prompt for these messages, cut to at most `max_tokens`.

    `render` frames messages as the model expects them, `count` tells a text's tokens.
    """
    kept = list(messages)
    asked = tokens = count(render(kept))
    for _ in range(_ROUNDS):
        if tokens <= max_tokens:
            break
        longest = max(range(len(kept)), key=lambda place: len(kept[place].content))
        content = kept[longest].content
        # By the text's own ratio, and a little more: cutting makes tokens of its own.
        excess = (tokens - max_tokens + 16) * max(1.0, len(content) / max(1, count(content)))
        kept[longest] = replace(kept[longest], content=_cut(content, int(excess * 1.05)))
        tokens = count(render(kept))
    return Prompt(render(kept), tokens, max(0, asked - tokens))


def _cut(content: str, characters: int) -> str:
    room = max(0, len(content) - characters - len(_CUT_NOTE))
    # The end of a prompt holds what is asked.
    head = room // 3
    return content[:head] + _CUT_NOTE + content[len(content) - (room - head) :]


def _read(message: dict[str, Any]) -> ChatMessage:
    role, content = str(message.get("role", "user")), _text_of(message.get("content"))
    # In words: a model that has seen calls as JSON goes on to answer in it.
    calls = [
        f"I call {call['function']['name']} with {call['function']['arguments']}."
        for call in message.get("tool_calls") or ()
    ]
    if calls:
        content = "\n".join(filter(None, [content, *calls]))
    if role == "tool":
        role, content = "user", f"The tool's result: {content}"
    elif role not in ("system", "user", "assistant"):
        role = "system" if role == "developer" else "user"
    return ChatMessage(role, _MARKER.sub("< |", content))


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _describe_tools(tools: Sequence[dict[str, Any]]) -> str:
    lines = ["You can use these tools:"]
    for tool in tools:
        function = tool["function"]
        properties = (function.get("parameters") or {}).get("properties", {})
        about = _MARKER.sub("< |", " ".join(str(function.get("description", "")).split()))
        lines.append(f"- {function['name']}({', '.join(properties)}): {about[:400]}")
    return "\n".join(lines)
