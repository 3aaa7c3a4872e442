"""Builds the crews of this folder with a deterministic model and tools that real ones lack."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from crewai import Crew
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.tools import BaseTool

from crewmesh_worker.crews.build import build_crew as build_real_crew
from crewmesh_worker.runner.text import MAX_CHARACTERS

_IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
)


class GetStuck(BaseTool):
    """Never returns, and leaves a child that doesn't end when asked to."""

    name: str = "get_stuck"
    description: str = "Get stuck."
    pid_file: str

    def _run(self) -> str:
        child = subprocess.Popen([sys.executable, "-c", _IGNORES_SIGTERM])
        draft = Path(self.pid_file + ".new")
        draft.write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
        draft.replace(self.pid_file)
        while True:
            pass


class CallsGetStuck(BaseLLM):
    """Asks for the tool."""

    def call(self, messages: Any, *_args: Any, **_kwargs: Any) -> str:
        """Answer in the text format of tool calls."""
        return "Thought: I must.\nAction: get_stuck\nAction Input: {}\nObservation:"


class Speaker(BaseLLM):
    """Streams as many words as its task asks for, at the pace that it asks for."""

    def call(self, messages: Any, *_args: Any, **kwargs: Any) -> str:
        """Stream the words, then answer with all of them."""
        task, agent = kwargs.get("from_task"), kwargs.get("from_agent")
        words, pause_ms = map(
            int, re.findall(r"(\d+)[a-z ]* words, (\d+) ms", messages[-1]["content"])[-1]
        )
        said = [f"word{number} " for number in range(words)]
        with llm_call_context():
            self._emit_call_started_event(messages, from_task=task, from_agent=agent)
            for word in said:
                self._emit_stream_chunk_event(word, from_task=task, from_agent=agent)
                time.sleep(pause_ms / 1000)
            answer = "".join(said)
            self._emit_call_completed_event(
                answer, LLMCallType.LLM_CALL, task, agent, usage={"total_tokens": words}
            )
        return f"Thought: said.\nFinal Answer: {answer}"


class Shouter(BaseLLM):
    """Streams as many long chunks as its task asks for, as fast as it can."""

    def call(self, messages: Any, *_args: Any, **kwargs: Any) -> str:
        """Stream the chunks, then answer with a word."""
        task, agent = kwargs.get("from_task"), kwargs.get("from_agent")
        chunks = int(re.findall(r"Shout (\d+) chunks", messages[-1]["content"])[-1])
        with llm_call_context():
            self._emit_call_started_event(messages, from_task=task, from_agent=agent)
            for number in range(chunks):
                noise = f"{number:08}" * (MAX_CHARACTERS // 8)
                self._emit_stream_chunk_event(noise, from_task=task, from_agent=agent)
            self._emit_call_completed_event("loud", LLMCallType.LLM_CALL, task, agent)
        return "Thought: said.\nFinal Answer: loud"


class Chatterer(BaseLLM):
    """Tells of as many calls as its task asks for, as fast as it can."""

    def call(self, messages: Any, *_args: Any, **kwargs: Any) -> str:
        """Tell of the calls, then answer."""
        task, agent = kwargs.get("from_task"), kwargs.get("from_agent")
        calls = int(re.findall(r"Call (\d+) times", messages[-1]["content"])[-1])
        for _ in range(calls):
            with llm_call_context():
                self._emit_call_started_event([], from_task=task, from_agent=agent)
                self._emit_call_completed_event(
                    "two words", LLMCallType.LLM_CALL, task, agent, usage={"total_tokens": 2}
                )
        return "Thought: said.\nFinal Answer: enough"


class Talker(BaseLLM):
    """Tells what it heard: now, and how many lines before; streams it word by word."""

    def call(self, messages: Any, *_args: Any, **kwargs: Any) -> str:
        """Answer, after a pause or with a failure when the message asks for it."""
        task, agent = kwargs.get("from_task"), kwargs.get("from_agent")
        prompt = messages[-1]["content"]
        message = re.findall(r"<message>(.*?)</message>", prompt, re.DOTALL)[-1]
        history = re.findall(r"<history>(.*?)</history>", prompt, re.DOTALL)[-1]
        if match := re.fullmatch(r"pause (\d+) ms.*", message):
            time.sleep(int(match[1]) / 1000)
        if message == "fail":
            raise ValueError("told to fail")
        before = [line for line in history.splitlines() if not line.startswith(" ")]
        answer = f"heard {message!r} after {len(before)} lines"
        if message == "what did I say first?":
            answer = before[0].removeprefix("user: ")
        with llm_call_context():
            self._emit_call_started_event(messages, from_task=task, from_agent=agent)
            for word in re.findall(r"\S+\s*", answer):
                self._emit_stream_chunk_event(word, from_task=task, from_agent=agent)
            self._emit_call_completed_event(
                answer, LLMCallType.LLM_CALL, task, agent, usage={"total_tokens": 1}
            )
        return f"Thought: I heard it.\nFinal Answer: {answer}"


class Rememberer(BaseLLM):
    """Says what its memory brought up, and nothing else."""

    def call(self, messages: Any, *_args: Any, **_kwargs: Any) -> str:
        """Answer with the facts that the prompt's memories hold."""
        prompt = "\n".join(str(message["content"]) for message in messages)
        recalled = prompt.partition("Relevant memories:")[2]
        facts = sorted(set(re.findall(r"code-[a-z0-9]+", recalled)))
        return f"Thought: I recall.\nFinal Answer: recalled {' '.join(facts) or 'nothing'}"


class AppendLine(BaseTool):
    """Has an effect outside of its run: one line more in a file."""

    name: str = "append_line"
    description: str = "Append a line."
    side_effects: bool = True
    file: str

    def _run(self, line: str) -> str:
        with Path(self.file).open("a", encoding="utf-8") as lines:
            lines.write(line + "\n")
        return f"appended {line}"


class AppendsThenDies(BaseLLM):
    """Calls the tool twice; then its process dies, but only the first time."""

    file: str

    def call(self, messages: Any, *_args: Any, **_kwargs: Any) -> str:
        """Answer in the text format of tool calls."""
        said = sum(str(message["content"]).count("appended paid") for message in messages)
        if said < 2:
            line = f'{{"line": "paid {said + 1}"}}'
            return f"Thought: I must.\nAction: append_line\nAction Input: {line}\n"
        died = Path(self.file + ".died")
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "Thought: done.\nFinal Answer: paid twice"


class Dies(BaseLLM):
    """Has its process killed, as by a machine without memory."""

    def call(self, messages: Any, *_args: Any, **_kwargs: Any) -> str:
        """Answer nothing, ever."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it lives")


class Writer(BaseLLM):
    """Writes a draft, and a new one for each thing it is told to change."""

    def call(self, messages: Any, *_args: Any, **_kwargs: Any) -> str:
        """Answer with what it was told last."""
        told = [m["content"] for m in messages if "make it" in str(m["content"])]
        return f"Thought: ok.\nFinal Answer: draft {len(told)}: {told[-1] if told else 'plain'}"


def build_crew(definition: dict[str, Any], inputs: dict[str, Any], llm: BaseLLM) -> Crew:
    """Build as the product does, then put in what the tests need."""
    if definition["name"] == "stuck":
        crew = build_real_crew(definition, inputs, CallsGetStuck(model="stuck"))
        crew.agents[0].tools = [GetStuck(pid_file=inputs["pid_file"])]
        return crew
    if definition["name"] == "paced":
        if inputs["pid_file"]:
            Path(inputs["pid_file"]).write_text(str(os.getpid()), encoding="utf-8")
        return build_real_crew(definition, inputs, Speaker(model="speaker"))
    if definition["name"] == "loud":
        return build_real_crew(definition, inputs, Shouter(model="shouter"))
    if definition["name"] == "chatty":
        return build_real_crew(definition, inputs, Chatterer(model="chatterer"))
    if definition["name"] == "talker":
        if inputs["pid_file"]:
            Path(inputs["pid_file"]).write_text(str(os.getpid()), encoding="utf-8")
        return build_real_crew(definition, inputs, Talker(model="talker"))
    if definition["name"] == "rememberer":
        return build_real_crew(definition, inputs, Rememberer(model="rememberer"))
    if definition["name"] == "effectful":
        model = AppendsThenDies(model="appends", file=inputs["file"])
        crew = build_real_crew(definition, inputs, model)
        crew.agents[0].tools = [AppendLine(file=inputs["file"])]
        return crew
    if definition["name"] == "poison":
        return build_real_crew(definition, inputs, Dies(model="dies"))
    if definition["name"] in ("approved", "careful"):
        return build_real_crew(definition, inputs, Writer(model="writer"))
    return build_real_crew(definition, inputs, llm)
