"""Tools that a person must approve each call of, as the tenant's policy says.

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


class ApprovalGate:
    """The calls of one attempt that need approval, and what people have said of them."""

    def __init__(self, policy: Policy, calls: ModelCalls, resumed: ResumedTask | None) -> None:
        self._policy = policy
        self._calls = calls
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
        if not self._policy.approval.tools:
            return
        self._calls.remember = True
        self._tasks = {str(task.id): task for task in crew.tasks}
        for tool in tools_of(crew):
            if self._policy.needs_approval(tool.name):
                # Whatever CrewAI does with a tool ends in this method of it.
                object.__setattr__(tool, "_run", self._guarded(tool))

    def _guarded(self, tool: BaseTool) -> Callable[..., Any]:
        execute = tool._run

        def run_if_approved(*args: Any, **kwargs: Any) -> Any:
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
                raise Paused(task, _shown(tool.name, kwargs), messages, call)
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
