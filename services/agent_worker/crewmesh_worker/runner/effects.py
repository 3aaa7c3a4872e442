"""Calls that must not happen twice: kept before anyone acts on their result.

A tool with `side_effects = True` is guarded: its completed calls are kept by the mesh,
and a later attempt gets the kept result for the same call instead of making it again.
"Same" is the same task, tool and arguments, and the same place among equal calls. An attempt
that begins a task anew counts from the first of them; one that goes on with a conversation
counts on after those that are in it, so that a call made again after a pause is made.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Final

from crewai import Crew
from crewai.context import get_current_task_id
from crewai.tools import BaseTool

from crewmesh.v1.run_store_pb2 import Effect
from crewmesh.v1.runner_pb2 import FromRunner
from crewmesh_worker.runner.stream import Ask

# The numbers of equal calls, by what makes them equal.
Numbers = dict[str, list[int]]

# Of calls in work that an agent has delegated.
_NO_TASK: Final = "-"

_current: ContextVar[str] = ContextVar("current_effect", default="")


def current_key() -> str:
    """Name the guarded call that is being made: the same in every attempt of its run.

    For the other side, which can tell by it that a call is made again. "" outside of one.
    """
    return _current.get()


class EffectJournal:
    """The effects of one run, those of earlier attempts included."""

    def __init__(self, made: Iterable[Effect], ask: Ask, run_id: str = "") -> None:
        self._run_id = run_id
        self._made = {effect.key: effect.result for effect in made}
        self._ask = ask
        # The numbers of equal calls that were made or are being made.
        self._numbers: defaultdict[str, set[int]] = defaultdict(set)
        self._task_keys: dict[str, str] = {}
        # The numbers taken when a task's model gave its last answer, by the task's id.
        self._before: dict[str, Numbers] = {}
        self._lock = Lock()

    def guard(
        self, crew: Crew, acts: Callable[[str], bool] = lambda _: False, prefix: str = ""
    ) -> None:
        """Have every tool of the crew that has side effects make each call once.

        So do those of which `acts` says so, by their names. `prefix` tells the crew's tasks from
        those of other crews of the run.
        """
        for index, task in enumerate(crew.tasks):
            self._task_keys[str(task.id)] = f"{prefix}{index}"
        for tool in tools_of(crew):
            if getattr(tool, "side_effects", False) or acts(tool.name):
                # Whatever CrewAI does with a tool ends in this method of it.
                object.__setattr__(tool, "_run", self._guarded(tool))
                # Nor does a crew's cache answer for it.
                tool.cache_function = _never

    def answered(self, task_id: str) -> None:
        """Take note that a task's model has answered: its calls after that are in the answer."""
        self._before[task_id] = self._numbers_of(task_id)

    def numbers(self, task_id: str, *, before_answer: bool) -> Numbers:
        """Return the numbers of a task's calls, or of those before its model's last answer."""
        if before_answer:
            return self._before.get(task_id, {})
        return self._numbers_of(task_id)

    def go_on(self, task_id: str, numbers: Numbers) -> None:
        """Count on after the calls that are in the conversation with which a task goes on."""
        self._before[task_id] = numbers
        with self._lock:
            for name, taken in numbers.items():
                self._numbers[name].update(taken)

    def _numbers_of(self, task_id: str) -> Numbers:
        own = (f"{self._task_keys.get(task_id, _NO_TASK)}/", f"{_NO_TASK}/")
        with self._lock:
            return {
                name: sorted(taken)
                for name, taken in self._numbers.items()
                if taken and name.startswith(own)
            }

    def _guarded(self, tool: BaseTool) -> Callable[..., str]:
        execute = tool._run

        def run_once(*args: Any, **kwargs: Any) -> str:
            with self._numbered(tool.name, args, kwargs) as key:
                if key not in self._made:
                    result = self._execute(execute, key, args, kwargs)
                    self._keep(Effect(key=key, result=result))
                    self._made[key] = result
                return self._made[key]

        return run_once

    def _keep(self, effect: Effect) -> None:
        """Return once the mesh has kept the effect for good."""
        reply = self._ask(FromRunner(effect=effect))
        if reply.effect_kept.key != effect.key:
            os._exit(1)  # it is out of step: what this run does now must not count

    def _execute(self, execute: Callable[..., Any], key: str, args: Any, kwargs: Any) -> str:
        token = _current.set(f"{self._run_id}/{key}")
        try:
            return str(execute(*args, **kwargs))
        finally:
            _current.reset(token)

    @contextmanager
    def _numbered(self, tool: str, args: Any, kwargs: Any) -> Iterator[str]:
        """Give a call its key. One that raises gives its number back: it is still to be made."""
        call = json.dumps([args, kwargs], sort_keys=True, default=str).encode()
        task = self._task_keys.get(get_current_task_id() or "", _NO_TASK)
        name = f"{task}/{tool}/{hashlib.sha256(call).hexdigest()[:32]}"
        with self._lock:
            taken = self._numbers[name]
            number = next(n for n in range(1, len(taken) + 2) if n not in taken)
            taken.add(number)
        try:
            yield f"{name}/{number}"
        except BaseException:
            with self._lock:
                taken.discard(number)
            raise


def _never(*_: Any) -> bool:
    return False


def tools_of(crew: Crew) -> Iterator[BaseTool]:
    """Yield every tool that an agent or a task of the crew has, each once."""
    seen: set[int] = set()
    holders: list[Any] = [*crew.agents, *crew.tasks]
    for holder in holders:
        for tool in holder.tools or ():
            if id(tool) not in seen:
                seen.add(id(tool))
                yield tool
