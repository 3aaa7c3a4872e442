"""What was said before, as the text that a crew is given, within a limit of tokens.

    (12 earlier messages are left out)
    user: Which month is the wettest?
    assistant: November,
      with 642.5 mm.

Each message begins a line with its role; its other lines are indented, so that nothing in a
message can pass for another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crewmesh.v1 import session_pb2

# A token has about as many bytes, in any script.
_BYTES_PER_TOKEN: Final = 4
_CUT: Final = " (cut)"


def count_tokens(text: str) -> int:
    """Estimate how many tokens a model would make of a text."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def fit_history(
    messages: Sequence[session_pb2.SessionMessage], earlier: int, max_tokens: int
) -> str:
    """Return the newest messages that fit, oldest first, and how many are left out.

    `messages` are in their order; `earlier` ones came before them. The newest message is
    there in any case, cut if need be. Empty when nothing was said.
    """
    lines: list[str] = []
    left = max_tokens
    for message in reversed(messages):
        line = _line(message)
        cost = count_tokens(line + "\n")
        if cost > left:
            if not lines:
                lines.append(_cut(line, max_tokens))
            break
        lines.append(line)
        left -= cost
    omitted = earlier + len(messages) - len(lines)
    if omitted:
        plural = "messages are" if omitted > 1 else "message is"
        lines.append(f"({omitted} earlier {plural} left out)")
    return "\n".join(reversed(lines))


def _line(message: session_pb2.SessionMessage) -> str:
    # Of every kind of line end.
    return f"{message.role}: " + "\n  ".join(message.content.splitlines())


def _cut(line: str, max_tokens: int) -> str:
    room = max(0, max_tokens * _BYTES_PER_TOKEN - len(_CUT))
    return line.encode()[:room].decode(errors="ignore") + _CUT
