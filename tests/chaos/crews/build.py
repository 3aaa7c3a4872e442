"""Builds the chaos crew with a model that is deterministic, and that tells what it executes."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from pathlib import Path
from typing import Any

from crewai import Crew
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.tools import BaseTool
from pydantic import BaseModel, Field

from crewmesh_worker.crews.build import build_crew as build_real_crew
from tests.chaos import ledger
from tests.chaos.crews.names import HUNGER_VARIABLE, KICKOFF_MARK, PAY, answer_of

_HUNGER_BYTES = 128 * 1024 * 1024
_PAID = "paid for task"


class Kickoff(BaseModel):
    """One go at a run's tasks, by one process."""

    key: str
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    begun_at: float = Field(default_factory=ledger.now)

    def record(self, what: str, task: int) -> None:
        """Enter into the ledger that something begins."""
        ledger.record(ledger.Entry(what, self.key, task, self.id, self.begun_at))


class Pay(BaseTool):
    """Has a side effect: a line more in the ledger."""

    name: str = PAY
    description: str = "Pay for a task."
    side_effects: bool = True
    kickoff: Kickoff

    def _run(self, task: int) -> str:
        self.kickoff.record("effect", task)
        return f"{_PAID} {task}"


class Speaker(BaseLLM):
    """Pays for a task where that is due, then streams its answer within 50 to 300 ms."""

    kickoff: Kickoff
    pays: bool

    def call(self, messages: Any, *_args: Any, **kwargs: Any) -> str:
        """Enter the ledger, stream the words, then answer with all of them."""
        task, agent = kwargs.get("from_task"), kwargs.get("from_agent")
        number = int(task.name.removeprefix("task-"))
        paid = any(f"{_PAID} {number}" in str(message["content"]) for message in messages)
        if not paid:
            self.kickoff.record("task", number)
            if self.pays:
                argument = f'{{"task": {number}}}'
                return f"Thought: first.\nAction: {PAY}\nAction Input: {argument}\n"
        _starve()
        key = self.kickoff.key
        answer = answer_of(key, number)
        said = [f"{KICKOFF_MARK}{self.kickoff.id} ", *(f"{word} " for word in answer.split())]
        seconds = random.Random(f"{key}/{number}/pace").uniform(0.05, 0.3)
        with llm_call_context():
            self._emit_call_started_event(messages, from_task=task, from_agent=agent)
            for word in said:
                self._emit_stream_chunk_event(word, from_task=task, from_agent=agent)
                time.sleep(seconds / len(said))
            self._emit_call_completed_event(
                answer, LLMCallType.LLM_CALL, task, agent, usage={"total_tokens": len(said)}
            )
        return f"Thought: said.\nFinal Answer: {answer}"


def _starve() -> None:
    """If it is this task's turn, take memory and end as the kernel ends who took too much."""
    try:
        Path(os.environ[HUNGER_VARIABLE]).unlink()
    except FileNotFoundError:
        return
    taken = bytearray(_HUNGER_BYTES)
    taken[::4096] = b"\x01" * len(taken[::4096])
    os.kill(os.getpid(), signal.SIGKILL)


def build_crew(definition: dict[str, Any], inputs: dict[str, Any], llm: BaseLLM) -> Crew:
    """Build as many of the crew's tasks as the run asks for; other crews as the product does."""
    if definition["name"] != "chaos":
        return build_real_crew(definition, inputs, llm)
    body = definition["crew"]
    shortened = {**definition, "crew": {**body, "tasks": body["tasks"][: inputs["tasks"]]}}
    kickoff = Kickoff(key=inputs["key"])
    speaker = Speaker(model="speaker", kickoff=kickoff, pays=inputs["pays"])
    crew = build_real_crew(shortened, inputs, speaker)
    crew.agents[0].tools = [Pay(kickoff=kickoff)]
    return crew
