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
from crewmesh_worker.runner import artifacts
from tests.chaos import ledger
from tests.chaos.crews.names import (
    HUNGER_VARIABLE,
    KICKOFF_MARK,
    PAY,
    SAVE,
    answer_of,
    content_of,
    digest,
    file_name,
    notes_in,
)

_HUNGER_BYTES = 128 * 1024 * 1024
_DONE = {PAY: "paid for task", SAVE: "saved for task"}


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
        return f"{_DONE[PAY]} {task}"


class Save(BaseTool):
    """Makes a file and hands it over."""

    name: str = SAVE
    description: str = "Save a task's file."
    # What it answers is our own, so that nobody is asked whether to pay after it.
    outside: bool = False
    key: str

    def _run(self, task: int) -> str:
        Path(file_name(task)).write_bytes(content_of(self.key, file_name(task)))
        artifacts.save(file_name(task))
        return f"{_DONE[SAVE]} {task}"


class Speaker(BaseLLM):
    """Uses each tool once for a task, then streams its answer within 50 to 300 ms."""

    kickoff: Kickoff
    uses: list[str]
    data: str = ""

    def call(self, messages: Any, *_args: Any, **kwargs: Any) -> str:
        """Enter the ledger, use the tools, stream the words, then answer with all of them."""
        task, agent = kwargs.get("from_task"), kwargs.get("from_agent")
        number = int(task.name.removeprefix("task-"))
        said = "\n".join(str(message["content"]) for message in messages)
        left = [tool for tool in self.uses if f"{_DONE[tool]} {number}" not in said]
        if left == self.uses:
            self.kickoff.record("task", number)
        if left:
            return f'Thought: first.\nAction: {left[0]}\nAction Input: {{"task": {number}}}\n'
        _starve()
        notes = notes_in(said, number)
        answer = answer_of(self.kickoff.key, number, notes, self.data if number == 0 else "")
        self._speak(messages, answer, number, task, agent)
        return f"Thought: said.\nFinal Answer: {answer}"

    def _speak(self, messages: Any, answer: str, number: int, task: Any, agent: Any) -> None:
        said = [f"{KICKOFF_MARK}{self.kickoff.id} ", *(f"{word} " for word in answer.split())]
        seconds = random.Random(f"{self.kickoff.key}/{number}/pace").uniform(0.05, 0.3)
        with llm_call_context():
            self._emit_call_started_event(messages, from_task=task, from_agent=agent)
            for word in said:
                self._emit_stream_chunk_event(word, from_task=task, from_agent=agent)
                time.sleep(seconds / len(said))
            self._emit_call_completed_event(
                answer, LLMCallType.LLM_CALL, task, agent, usage={"total_tokens": len(said)}
            )


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
    tasks = [
        {**task, "human_input": number == inputs["asks"]}
        for number, task in enumerate(body["tasks"][: inputs["tasks"]])
    ]
    kickoff = Kickoff(key=inputs["key"])
    speaker = Speaker(
        model="speaker",
        kickoff=kickoff,
        uses=[tool for tool, wanted in ((PAY, inputs["pays"]), (SAVE, inputs["saves"])) if wanted],
        data=digest(Path(inputs["data"]).read_bytes()) if "data" in inputs else "",
    )
    crew = build_real_crew({**definition, "crew": {**body, "tasks": tasks}}, inputs, speaker)
    crew.agents[0].tools = [Pay(kickoff=kickoff), Save(key=inputs["key"])]
    return crew
