"""What a crew asks a person before it answers, and the person's word as the mesh takes it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

from crewmesh.cli.client import Event, MeshClient
from crewmesh.cli.text import clean

_YES = frozenset(("y", "yes"))
_NO = frozenset(("n", "no"))


@dataclass(frozen=True)
class Question:
    """A run's `input.requested`; `payload` is the event's."""

    run_id: str
    seq: int
    payload: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> Question:
        """Return the question that an event asks."""
        return cls(event["run_id"], event["seq"], event["payload"])

    @classmethod
    async def open_of(cls, client: MeshClient, run: dict[str, Any]) -> Question | None:
        """Return what a run waits for; None where it waits for nobody."""
        if run["status"] != "waiting":
            return None
        # It is the last thing that a waiting run has said.
        async with contextlib.aclosing(client.watch(run["id"], run["last_seq"] - 1)) as events:
            event = await anext(events)
        return cls.of(event) if event["type"] == "input.requested" else None

    @property
    def needs_approval(self) -> bool:
        """Whether yes and no are answers; else any text is one."""
        return "draft" in self.payload or "tool" in self.payload

    @property
    def draft(self) -> str:
        """What is to be approved, as text; empty where there is nothing."""
        return clean(str(self.payload.get("draft") or "")).strip()

    def lines(self, *, with_draft: bool) -> list[str]:
        """Return what to show the person."""
        lines = [self.draft] if with_draft and self.draft else []
        if arguments := self.payload.get("arguments"):
            lines.append(clean(f"  with {json.dumps(arguments, ensure_ascii=False)}"))
        lines.append(clean(str(self.payload.get("prompt") or "The crew waits for an answer.")))
        if options := self.payload.get("options"):
            lines.append(clean(f"  one of: {', '.join(map(str, options))}"))
        return lines

    @property
    def hint(self) -> str:
        """Return what to type, as it stands before the cursor."""
        if not self.needs_approval:
            return "answer> "
        return "y, n, or why not> " if "tool" in self.payload else "y, n, or what to change> "

    def answered_by(self, line: str) -> dict[str, Any]:
        """Return the body of the answer that a line is; it reaches this question only."""
        said = line.strip()
        body: dict[str, Any] = {"text": said, "question": self.seq}
        if self.needs_approval and said.lower() in _YES | _NO:
            body |= {"text": "", "approve": said.lower() in _YES}
        return body
