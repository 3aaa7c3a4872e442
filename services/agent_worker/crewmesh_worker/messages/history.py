"""What was said before in a conversation, as crews are given it.

    user: What is the weather in Lisbon?
    assistant: It is sunny, 18 °C.

A line that begins with neither role goes on with the message before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TURN = re.compile(r"^\s*(user|assistant)\s*:\s?(.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class Turn:
    """One message; `role` is "user" or "assistant"."""

    role: str
    text: str


def read_history(history: str) -> list[Turn]:
    """Return the messages, the oldest first."""
    turns: list[tuple[str, list[str]]] = []
    for line in history.splitlines():
        match = _TURN.match(line)
        if match:
            turns.append((match[1].lower(), [match[2]]))
        elif turns:
            turns[-1][1].append(line)
    return [Turn(role, "\n".join(lines).strip()) for role, lines in turns]
