"""What the tools of one run share: its datasets, its evidence and its charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crewmesh_worker.tools.database import Database
from crewmesh_worker.tools.evidence import Evidence


@dataclass
class RunContext:
    """One run's, for as long as its process works on it."""

    # The datasets as tables, named like the inputs.
    database: Database
    # What the run was given.
    inputs: Mapping[str, Any] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)
    # Names of the PNG files drawn in this attempt.
    charts: list[str] = field(default_factory=list)
    # Gives the outputs of the tasks that an earlier attempt finished: they name its charts.
    earlier_outputs: Callable[[], list[str]] = list
    # Gives the results of finished tasks that a person approved, or by rule needn't.
    approved_outputs: Callable[[], list[str]] = list


_current: ContextVar[RunContext] = ContextVar("run_context")


def enter_run(datasets: Mapping[str, Path], inputs: Mapping[str, Any] | None = None) -> RunContext:
    """Make this the run that tools called from here on work for."""
    context = RunContext(Database(datasets), inputs or {})
    _current.set(context)
    return context


def current_run() -> RunContext:
    """Return the run that the calling tool works for."""
    return _current.get()
