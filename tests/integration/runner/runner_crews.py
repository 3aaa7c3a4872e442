# ruff: noqa: T201
"""Crews, tools and a model for the runner's tests; imported by runner processes only.

A definition lists tasks, and each task says what its model does:

    {"tasks": [{"name": ..., "answer": ..., "tool": [name, arguments], "chunks": [...],
                "times": calls of the tool, one after another, "structured": bool, "human": bool,
                "pause": seconds after the first chunk, "repeat": the answer so often, "obeys": a tool that it calls when a result orders it, "raises": ..., "model_error": ...}]}
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hanging_parts
import numpy as np
from crewai import Agent, Crew, Task
from crewai.events.types.llm_events import LLMCallType
from crewai.flow.runtime import FlowState
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.tasks.task_output import TaskOutput
from crewai.tools import BaseTool
from pydantic import BaseModel, PrivateAttr

from crewmesh_worker.models.guarded import GuardedModel
from crewmesh_worker.runner import artifacts
from crewmesh_worker.tools.statistics import parts, pool

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


class ScriptedModel(BaseLLM):
    """Answers each task as the definition says, in no time."""

    _scripts: dict[str, dict[str, Any]] = PrivateAttr(default_factory=dict)

    def call(
        self, messages: Any, tools: Any = None, *_: Any, from_task: Any = None,
        from_agent: Any = None, **__: Any,
    ) -> Any:  # fmt: skip
        script = self._scripts[from_task.name]
        _raise(script.get("raises"))
        whose = {"from_task": from_task, "from_agent": from_agent}
        with llm_call_context():
            self._emit_call_started_event(messages, **whose)
            if script.get("model_error"):
                self._emit_call_failed_event(script["model_error"], **whose)
                raise RuntimeError(script["model_error"])
            if "obeys" in script and (order := _order_in(messages, script["obeys"])):
                self._completed("a tool call", LLMCallType.TOOL_CALL, whose)
                function = {"name": script["obeys"], "arguments": order}
                return [{"id": f"call-{len(messages)}", "type": "function", "function": function}]
            if "tool" in script and _calls_since_anybody_spoke(messages) < script.get("times", 1):
                self._completed("a tool call", LLMCallType.TOOL_CALL, whose)
                name, arguments = script["tool"]
                function = {"name": name, "arguments": json.dumps(arguments)}
                return [{"id": f"call-{len(messages)}", "type": "function", "function": function}]
            for number, chunk in enumerate(script.get("chunks", [])):
                self._emit_stream_chunk_event(chunk, **whose)
                if number == 0:
                    time.sleep(script.get("pause", 0))
            answer = script["answer"] * script.get("repeat", 1)
            if answer == "what the tool said":
                answer = messages[-1]["content"]
            elif answer == "what was said before":
                answer = " and ".join(output.raw for output in _before(from_task))
            self._completed(answer, LLMCallType.LLM_CALL, whose)
            return answer

    def _completed(self, response: str, kind: LLMCallType, whose: dict[str, Any]) -> None:
        self._emit_call_completed_event(response, kind, usage=USAGE, **whose)

    def supports_function_calling(self) -> bool:
        return True

    def get_input_tokens_count(self, *_: Any, **__: Any) -> int:
        return 0


def _order_in(messages: list[dict[str, Any]], tool: str) -> str:
    """Return the arguments with which a tool's last result orders a call, as a weak model would."""
    last = messages[-1]
    found = re.search(r"CALL " + tool + r" (\{.*?\})", str(last.get("content")))
    return found[1] if found and last["role"] == "tool" else ""


def _raise(how: str | None) -> None:
    if how == "recursion":
        _raise(how)
    kinds = {"exit": SystemExit, "interrupt": KeyboardInterrupt, "memory": MemoryError}
    if how is not None:
        raise kinds[how]("enough")


def _calls_since_anybody_spoke(messages: list[dict[str, Any]]) -> int:
    roles = [message["role"] for message in messages]
    return roles[::-1][: roles[::-1].index("user")].count("tool")


def _before(task: Task) -> list[TaskOutput]:
    tasks = task.agent.crew.tasks
    return [earlier.output for earlier in tasks[: tasks.index(task)]]


class Shout(BaseTool):
    name: str = "shout"
    description: str = "Upper case."

    def _run(self, word: str) -> str:
        return word.upper()


class Break(BaseTool):
    name: str = "break"
    description: str = "Raises."

    def _run(self) -> str:
        raise RuntimeError("the tool is broken")


class CountInPool(BaseTool):
    """Works out statistics over processes that never end."""

    name: str = "count_in_pool"
    description: str = "Counts."

    def _run(self, started: str) -> str:
        os.environ["HANGING_PARTS"] = started
        parts.sort_and_sum_file = hanging_parts.hang
        return str(pool.sort_and_sum(np.arange(10.0), processes=2))


class Attempt(BaseTool):
    """Carries out code, as a project's may be, and says what it gave or raised."""

    name: str = "attempt"
    description: str = "Attempts what it is told."

    def _run(self, attempts: dict[str, str]) -> str:
        outcomes = {}
        for name, code in attempts.items():
            try:
                outcomes[name] = str(eval(code, dict(globals())))
            except Exception as error:  # noqa: BLE001 - whatever it is
                outcomes[name] = type(error).__name__
        return json.dumps(outcomes)


class Surroundings(BaseTool):
    name: str = "surroundings"
    description: str = "Tells of the process."

    def _run(self) -> str:
        facts = {
            "environment": dict(os.environ),
            "directory": str(Path.cwd()),
            "files": sorted(path.name for path in Path().iterdir()),
            "fds": list(_descriptors().values()),
            "group": os.getpgid(0),
            "niceness": os.nice(0),
            "session_niceness": _session_niceness(),
            "pid": os.getpid(),
        }
        return json.dumps(facts)


def _session_niceness() -> int | None:
    """Return the niceness of this process's session; None where sessions have none."""
    try:
        return int(Path("/proc/self/autogroup").read_text().split()[-1])
    except FileNotFoundError:
        return None


def _descriptors() -> dict[int, str]:
    """Return what each open descriptor refers to."""
    found = {}
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found[int(fd.name)] = str(fd.readlink())
    return dict(sorted(found.items()))


def _runner_socket() -> int:
    """Return the descriptor of the one socket that another process has made."""
    for fd, target in _descriptors().items():
        if target.startswith("socket:"):
            with socket.socket(fileno=os.dup(fd)) as sock:
                credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if struct.unpack("3i", credentials)[0] != os.getpid():
                return fd
    raise AssertionError("no socket of the worker's")


class Talk(BaseTool):
    name: str = "talk"
    description: str = "Prints lines, also from other processes."

    def _run(self, lines: list[str]) -> str:
        print("\n".join(lines), end="")
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(print, ["from a forked process"] * 4)
        subprocess.run(["echo", "from a program"], check=True)
        return "talked"


class Keep(BaseTool):
    name: str = "keep"
    description: str = "Saves a file as an artifact, then overwrites it."

    def _run(self, content: str) -> str:
        Path("figures.csv").write_text(content)
        artifacts.save("figures.csv")
        Path("figures.csv").write_text("overwritten")
        try:
            artifacts.save("/etc/hostname")
        except ValueError as error:
            return str(error)
        raise AssertionError("a file from elsewhere was saved")


class End(BaseTool):
    name: str = "end"
    description: str = "Ends the process, or tries to."

    def _run(self, how: str) -> str:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif how == "os._exit":
            os._exit(3)
        elif how == "segfault":
            signal.raise_signal(signal.SIGSEGV)
        elif how == "garbage":
            os.write(_runner_socket(), b"\xff" * 64)
        elif how == "hang up":
            os.close(_runner_socket())
        time.sleep(60)
        return "still here"


class ReadPage(BaseTool):
    """Brings what somebody elsewhere has written."""

    name: str = "read_page"
    description: str = "Reads a page."
    outside: bool = True

    def _run(self, text: str, broken: bool = False) -> str:
        if broken:
            raise RuntimeError(text)
        return text


class StateClasses(BaseTool):
    name: str = "state_classes"
    description: str = "Counts the classes of agents' states."

    def _run(self) -> str:
        return str(sum(cls.__name__ == "StateWithId" for cls in FlowState.__subclasses__()))


class Pay(BaseTool):
    """Has an effect outside of its run: one line more in a file."""

    name: str = "pay"
    description: str = "Pays."
    side_effects: bool = True

    def _run(self, file: str) -> str:
        with Path(file).open("a") as lines:
            lines.write("paid\n")
        return f"paid {len(Path(file).read_text().splitlines())}"


_hoard: list[bytearray] = []


class Hoard(BaseTool):
    name: str = "hoard"
    description: str = "Takes memory and keeps it."

    def _run(self, megabytes: int) -> str:
        _hoard.append(bytearray(megabytes * 1024 * 1024))
        return "kept"


_STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
_DAEMON = """
if os.fork():
    os._exit(0)
os.setsid()
"""
_POLITE = """
import signal, sys, time
def leave(*_):
    with open(sys.argv[2], "w") as file:
        file.write("goodbye")
    sys.exit()
signal.signal(signal.SIGTERM, leave)
"""
_STAY = """
print("ready", flush=True)
while True:
    time.sleep(1)
"""


class Spin(BaseTool):
    """Starts a child that ignores SIGTERM, one that leads a session too, and a daemon."""

    name: str = "spin"
    description: str = "Starts processes and never returns."

    def _run(self, pid_file: str, forever: bool = True, last_words: str = "") -> str:
        if last_words:
            _start(_POLITE + _STAY, pid_file, last_words)
        else:
            _start(_STUBBORN + _STAY, pid_file)
            _start(_STUBBORN + _STAY, pid_file, start_new_session=True)
            _start(_STUBBORN + _DAEMON + _STAY, pid_file)
        Path(pid_file).touch()
        while forever:
            pass
        return "left them running"


def _start(code: str, *arguments: str, **options: Any) -> None:
    command = [sys.executable, "-S", "-c", code, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    assert process.stdout is not None
    process.stdout.readline()


class Answer(BaseModel):
    """What a structured task answers."""

    value: int


_TOOLS = {
    tool.name: tool
    for tool in (
        Shout(),
        Break(),
        Surroundings(),
        Attempt(),
        CountInPool(),
        Talk(),
        Keep(),
        End(),
        StateClasses(),
        Hoard(),
        Pay(),
        ReadPage(),
        Spin(),
    )
}


def make_llm(model: str) -> ScriptedModel:
    return ScriptedModel(model=model, provider="crewmesh")


def build_crew(definition: dict[str, Any], inputs: dict[str, Any], llm: GuardedModel) -> Crew:
    if "build_error" in definition:
        raise ValueError(definition["build_error"])
    llm.first._scripts.update({task["name"]: task for task in definition["tasks"]})
    tasks = definition["tasks"]
    used = dict.fromkeys(
        name for task in tasks for name in (*task.get("tool", ())[:1], task.get("obeys")) if name
    )
    agent = Agent(
        role="analyst of {topic}", goal="g", backstory="b", llm=llm,
        # Of this run's own, as real ones are: a run guards its tools.
        tools=[_TOOLS[name].model_copy() for name in used],
        max_retry_limit=0,
    )  # fmt: skip
    tasks = [
        Task(
            name=task["name"],
            description=task.get("description", "Look at {topic}."),
            expected_output="an answer",
            agent=agent,
            output_pydantic=Answer if task.get("structured") else None,
            human_input=task.get("human", False),
        )
        for task in definition["tasks"]
    ]
    return Crew(agents=[agent], tasks=tasks)
