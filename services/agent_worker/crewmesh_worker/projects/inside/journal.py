"""What a flow has finished, kept so that a later attempt goes on after it.

CrewAI can restore a flow, but not so that it takes the same way again: it forgets what
routers and listeners were given, and writes when all is over. So each finished method is
kept with its result and the state after it. A later attempt runs the flow from its start,
and methods that are kept answer at once, without being run. Their order, their routers'
decisions and loops come out as they did.

Records are pickled: results are objects of the project's own classes. Only the same
version of the project, in its own runner, ever reads them.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from crewmesh.v1.run_store_pb2 import TaskCheckpoint


class CallKey(NamedTuple):
    """The n-th call (from 1) of a flow's method."""

    method: str
    number: int


class TaskKey(NamedTuple):
    """A task of a crew that a method starts. Equal crews with equal inputs are numbered."""

    call: CallKey
    crew: str
    number: int
    place: int


@dataclass
class MethodRecord:
    """A finished call: its entry in the flow's outputs, its result, and the state after it.

    The state is the values of its fields: CrewAI makes its class anew for each flow.
    """

    key: CallKey
    event_index: int
    entry: dict[str, Any]
    result: Any
    state: dict[str, Any]


@dataclass
class TaskRecord:
    """A finished task, as `runner.checkpoints` keeps it."""

    key: TaskKey
    event_index: int
    output: bytes


@dataclass
class WaitingRecord:
    """Where a flow waits for a person.

    `kind` is feedback (to `body`, which the method returned), ask (the question after those
    that `answers` answer), or task (whose draft is in `checkpoint`).
    """

    kind: str
    call: CallKey
    state: dict[str, Any] | None = None
    body: Any = None
    answers: list[str] = field(default_factory=list)
    task: TaskKey | None = None
    checkpoint: bytes = b""


@dataclass
class Call:
    """A call that is under way in this attempt."""

    key: CallKey
    asked: int = 0
    answers: list[str] = field(default_factory=list)
    crews: Counter[str] = field(default_factory=Counter)


def state_values(flow: Any) -> dict[str, Any]:
    """Return the values of a flow's state by field."""
    state = flow._state
    return dict(state if isinstance(state, dict) else state.__dict__)


def restore_state(flow: Any, values: dict[str, Any]) -> None:
    """Give a new flow the state that another attempt's had."""
    if isinstance(flow._state, dict):
        flow._state = dict(values)
    else:
        flow._state = flow._state.model_copy(update=values)


current_call: Final[ContextVar[Call | None]] = ContextVar("current_call", default=None)


class Journal:
    """The records of earlier attempts, and the numbers of those to come."""

    def __init__(self, checkpoints: Iterable[TaskCheckpoint]) -> None:
        self.methods: dict[CallKey, MethodRecord] = {}
        self.tasks: dict[TaskKey, TaskRecord] = {}
        self.waiting: WaitingRecord | None = None
        self.last_state: dict[str, Any] | None = None
        self._next = 0
        # Once one can't be kept, a later one would be taken up without what came before it.
        self._complete = True
        for checkpoint in sorted(checkpoints, key=lambda c: c.task_index):
            self._read(checkpoint)

    def _read(self, checkpoint: TaskCheckpoint) -> None:
        record = pickle.loads(checkpoint.output)  # noqa: S301 - see above
        self._next = checkpoint.task_index + 1
        if isinstance(record, TaskRecord):
            self.tasks[record.key] = record
            return
        self.last_state = record.state if record.state is not None else self.last_state
        if isinstance(record, MethodRecord):
            self.methods[record.key] = record
        else:
            self.waiting = record

    @property
    def open_question(self) -> WaitingRecord | None:
        """What the flow waited for, unless the call that asked has been finished since."""
        waiting = self.waiting
        return None if waiting is None or waiting.call in self.methods else waiting

    def write(self, record: MethodRecord | TaskRecord) -> TaskCheckpoint | None:
        """Return the record to be kept; None where an earlier one couldn't be.

        Raises whatever pickling raises.
        """
        if not self._complete:
            return None
        self._complete = False
        checkpoint = self._checkpoint(record)
        self._complete = True
        return checkpoint

    def write_waiting(self, record: WaitingRecord) -> TaskCheckpoint:
        """Return where the flow waits; raise TypeError for a state that can't be kept."""
        try:
            checkpoint = self._checkpoint(record)
        except Exception as error:
            raise TypeError(
                f"the flow can't wait for a person: its state can't be kept: {error}"
            ) from error
        checkpoint.waiting = True
        return checkpoint

    def give_up(self) -> None:
        """Keep nothing more: a record was too large."""
        self._complete = False

    def _checkpoint(self, record: Any) -> TaskCheckpoint:
        data = pickle.dumps(record)
        self._next += 1
        return TaskCheckpoint(task_index=self._next - 1, output=data)
