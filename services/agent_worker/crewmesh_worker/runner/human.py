"""A crew that waits for a person, without a process.

When a task asks for human input, or a tool may be used with a person's approval only, the run
stops with the agent's draft and conversation kept. The person's answer comes with the next
attempt: it either takes the draft as the task's output, goes on with the conversation where it
stopped, or makes the call that was waiting.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from crewai import Crew
from crewai.core.providers.human_input import SyncHumanInputProvider, set_provider

from crewmesh.v1.run_store_pb2 import HumanAnswer, TaskCheckpoint
from crewmesh_worker.runner.effects import Numbers


@dataclass
class PendingCall:
    """A tool's call that waits for approval, and the model's answer that it is a part of.

    `decided` says, by their keys, what people have said of other calls in the same answer; None
    is approval, and a text is why not.
    """

    key: str
    tool: str
    arguments: dict[str, Any]
    answer: Any
    decided: dict[str, str | None] = field(default_factory=dict)


class Paused(BaseException):
    """The crew needs an answer to go on."""

    def __init__(
        self, task: Any, draft: str, messages: list[Any], call: PendingCall | None = None
    ) -> None:
        super().__init__("waiting for a person")
        self.task = task
        self.draft = draft
        self.messages = messages
        self.call = call
        # Of the guarded calls that `messages` has; see EffectJournal.
        self.numbers: Numbers = {}

    def checkpoint(self, task_index: int) -> TaskCheckpoint:
        """Return what the next attempt needs to go on from here."""
        data: dict[str, Any] = {
            "draft": self.draft, "messages": self.messages, "numbers": self.numbers
        }  # fmt: skip
        if self.call is not None:
            data["call"] = vars(self.call)
        return TaskCheckpoint(
            task_index=task_index, output=json.dumps(data, default=str).encode(), waiting=True
        )

    def question(self, task: str) -> dict[str, Any]:
        """Return what the person is asked, of the task of that name."""
        if self.call is None:
            return {"prompt": f"Approve the result of the task {task!r}, or say what to change."}
        return {
            "prompt": f"Approve this call of the tool {self.call.tool!r}, or say why not.",
            "tool": self.call.tool,
        }


class PausingProvider(SyncHumanInputProvider):
    """Stops the run where CrewAI would ask at a terminal.

    `waived` are results that nobody needs to approve.
    """

    def __init__(
        self, resumed: ResumedTask | None = None, waived: Container[str] = frozenset()
    ) -> None:
        self._resumed = resumed
        self._waived = waived

    def setup_messages(self, context: Any) -> bool:
        """Put back the conversation of the task that was waiting, with the answer at its end."""
        resumed = self._resumed
        if resumed is None or context.task is not resumed.task:
            return False
        context.messages[:] = resumed.messages
        if resumed.call is None:
            context.messages.append(context._format_feedback_message(resumed.feedback))
        self._resumed = None
        return True

    def handle_feedback(self, formatted_answer: Any, context: Any) -> Any:
        """Stop here, with the draft, unless its approval is waived."""
        draft = self._get_output_string(formatted_answer)
        if draft in self._waived:
            return formatted_answer
        raise Paused(context.task, draft, list(context.messages))

    async def handle_feedback_async(self, formatted_answer: Any, context: Any) -> Any:
        """Stop here, with the draft, unless its approval is waived."""
        return self.handle_feedback(formatted_answer, context)


class ResumedTask:
    """A task that was waiting, and what the person said of its draft, or of its call."""

    def __init__(self, task: Any, checkpoint: TaskCheckpoint, answer: HumanAnswer) -> None:
        data = json.loads(checkpoint.output)
        self.task = task
        self.draft: str = data["draft"]
        self.messages: list[Any] = data["messages"]
        self.numbers: Numbers = data.get("numbers", {})
        self.call = PendingCall(**data["call"]) if "call" in data else None
        said = answer.text.strip()
        self.approved = answer.approve if answer.HasField("approve") else not said
        self.feedback = said or "This is not approved. Improve it."
        if self.call is not None:
            self.call.decided[self.call.key] = None if self.approved else said


def use_provider(resumed: ResumedTask | None, waived: Container[str] = frozenset()) -> None:
    """From here on, stop the run where a task asks a person; `resumed` has been answered."""
    set_provider(PausingProvider(resumed, waived))


def find_resumed(
    crew: Crew, checkpoints: list[TaskCheckpoint], answer: HumanAnswer | None
) -> ResumedTask | None:
    """Return the task that waited, if there is one and somebody has answered."""
    waiting = [checkpoint for checkpoint in checkpoints if checkpoint.waiting]
    if not waiting or answer is None:
        return None
    return ResumedTask(crew.tasks[waiting[0].task_index], waiting[0], answer)
