"""What of a run's events is shown while it answers a message.

`Answer.take(event)` returns the text to print now. Only the last task's text is the answer,
and what the model wrote before it called a tool isn't part of it: so what was shown is
compared with the run's output at the end, which is printed whole where they differ.
"""

from __future__ import annotations

from crewmesh.cli.client import Event
from crewmesh.cli.text import clean


class Answer:
    """The text of one answer as it grows."""

    def __init__(self) -> None:
        self._last_task = False
        self._call_id = ""
        self._streamed = ""
        self._shown = False

    def take(self, event: Event) -> str:
        """Return what to print after an event; empty where it tells nothing of the answer."""
        payload = event["payload"]
        if event["type"] == "task.started":
            self._last_task = payload.get("index") == payload.get("total", 0) - 1
        if event["type"] != "llm.chunk" or not self._last_task:
            return ""
        begins = payload["call_id"] != self._call_id
        gap = "\n" if begins and self._shown else ""
        if begins:
            self._call_id, self._streamed = payload["call_id"], ""
        text = clean(str(payload["text"]))
        self._streamed += text
        self._shown = True
        return gap + text

    def has_shown(self, text: str) -> bool:
        """Return whether the text is the last that was printed."""
        return bool(self._streamed.strip()) and self._streamed.strip() == clean(text).strip()

    def finish(self, output: str) -> str:
        """Return what to print once the run has ended with this output."""
        output = clean(output)
        end = "\n" if self._shown else ""
        if self._streamed.strip() == output.strip():
            return end
        return f"{end}{output.strip()}\n"
