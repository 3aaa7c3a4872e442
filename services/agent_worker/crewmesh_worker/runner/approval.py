"""Tools that a person must approve each call of, as the tenant's policy says.

Some always, by their names. Those with side effects also once the run has read text from outside,
which may hold instructions: a model can't be relied on to tell these from its own, so what they
could lead to is shown to a person first.

A call that nobody has decided on stops the run. What is kept is the conversation before the
model's answer that asks for the call, and that answer. The next attempt puts the conversation
back and gives the answer again, without asking the model; so the same call is made, and the
person's word on it is known by then.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Any

from crewai import Crew
from crewai.context import get_current_task_id
from crewai.tools import BaseTool

from crewmesh.common.policy import Policy
from crewmesh_worker.runner.calls import ModelCalls
from crewmesh_worker.runner.effects import tools_of
from crewmesh_worker.runner.human import Paused, PendingCall, ResumedTask

_CANNOT_ASK = (
    "This call needs a person's approval, which can't be asked for here: in work that another "
    "agent has delegated, or in a task that runs beside others. It was not made."
)


_WHY = (
    "\n\nText from outside was read before, by {}. Is this what the run is for, or what that text "
    "asks for?"
)


class Outside:
    """Whether text from outside has come into a run, and by which tool first.

    What came before this attempt isn't known by now, so a run with a past counts as having read
    all that its tools can bring.
    """

    def __init__(self, *, past: bool) -> None:
        self._past = past
        self.by = ""

    def guard(self, crew: Crew) -> None:
        """Take note of what the crew's tools bring."""
        for tool in tools_of(crew):
            if _brings(tool):
                if self._past:
                    self.by = self.by or tool.name
                object.__setattr__(tool, "_run", self._noting(tool))

    def _noting(self, tool: BaseTool) -> Callable[..., Any]:
        execute = tool._run

        def run_and_note(*args: Any, **kwargs: Any) -> Any:
            try:
                return execute(*args, **kwargs)
            finally:
                # An error tells what the other side said, too.
                self.by = self.by or tool.name

        return run_and_note


def _brings(tool: BaseTool) -> bool:
    """Say whether a tool's results are from outside; of one that doesn't say, suppose so."""
    return bool(getattr(tool, "outside", not _acts(tool)))


def _acts(tool: BaseTool) -> bool:
    return bool(getattr(tool, "side_effects", False))


class ApprovalGate:
    """The calls of one attempt that need approval, and what people have said of them."""

    def __init__(
        self, policy: Policy, calls: ModelCalls, resumed: ResumedTask | None, outside: Outside
    ) -> None:
        self._policy = policy
        self._calls = calls
        self._outside = outside
        self._tasks: dict[str, Any] = {}
        self._decided: dict[str, str | None] = {}
        self._equal_calls: Counter[str] = Counter()
        self._lock = Lock()
        # Set once a call has stopped the run: what CrewAI says after that didn't happen.
        self.stopped = False
        if resumed is not None and resumed.call is not None:
            self._decided = resumed.call.decided
            number = int(resumed.call.key.partition("/")[0])
            calls.replay(str(resumed.task.id), resumed.messages, resumed.call.answer, number)

    def guard(self, crew: Crew) -> None:
        """Have calls of the crew's tools wait for approval where policy says so."""
        tools = list(tools_of(crew))
        always = {id(tool) for tool in tools if self._policy.needs_approval(tool.name)}
        acting = {id(tool) for tool in tools if _acts(tool)}
        if not self._policy.approval.after_outside:
            acting = set()
        if not always | acting:
            return
        self._calls.remember = True
        self._tasks = {str(task.id): task for task in crew.tasks}
        for tool in tools:
            if id(tool) in always | acting:
                # Whatever CrewAI does with a tool ends in this method of it.
                guarded = self._guarded(tool, always=id(tool) in always)
                object.__setattr__(tool, "_run", guarded)
        # Around the others: what a denied call answers is nobody's from outside.
        self._outside.guard(crew)

    def _guarded(self, tool: BaseTool, *, always: bool) -> Callable[..., Any]:
        execute = tool._run

        def run_if_approved(*args: Any, **kwargs: Any) -> Any:
            if not always and not self._outside.by:
                return execute(*args, **kwargs)
            task = self._tasks.get(get_current_task_id() or "")
            remembered = self._calls.remembered(str(task.id)) if task is not None else None
            if task is None or remembered is None or task.async_execution:
                return _CANNOT_ASK
            messages, answer, number = remembered
            key = self._key(f"{number}/{tool.name}", args, kwargs)
            if key not in self._decided:
                decided = {k: v for k, v in self._decided.items() if k.startswith(f"{number}/")}
                call = PendingCall(key, tool.name, kwargs, answer, decided)
                self.stopped = True
                why = "" if always else _WHY.format(self._outside.by)
                raise Paused(task, f"{_shown(tool.name, kwargs)}{why}", messages, call)
            reason = self._decided[key]
            if reason is None:
                return execute(*args, **kwargs)
            return f"A person has denied this call; don't make it again. {reason}".strip()

        return run_if_approved

    def _key(self, what: str, args: Any, kwargs: Any) -> str:
        call = json.dumps([args, kwargs], sort_keys=True, default=str).encode()
        name = f"{what}/{hashlib.sha256(call).hexdigest()[:32]}"
        with self._lock:
            self._equal_calls[name] += 1
            return f"{name}/{self._equal_calls[name]}"


def _shown(tool: str, arguments: dict[str, Any]) -> str:
    parts = (f"{name}={json.dumps(value, default=str)}" for name, value in arguments.items())
    return f"{tool}({', '.join(parts)})"
