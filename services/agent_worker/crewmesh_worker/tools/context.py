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
    evidence: Evidence = field(default_factory=Evidence)
    # Names of the PNG files drawn in this attempt.
    charts: list[str] = field(default_factory=list)
    # What the tenant's policy says of tools and hosts, as its JSON: {"hosts": {"allowed": names
    # or null, "private": bool}, ...}. Empty: every public host is allowed.
    policy: Mapping[str, Any] = field(default_factory=dict)
    # Gives the outputs of the tasks that an earlier attempt finished: they name its charts.
    earlier_outputs: Callable[[], list[str]] = list


_current: ContextVar[RunContext] = ContextVar("run_context")


def enter_run(datasets: Mapping[str, Path]) -> RunContext:
    """Make this the run that tools called from here on work for."""
    context = RunContext(Database(datasets))
    _current.set(context)
    return context


def current_run() -> RunContext:
    """Return the run that the calling tool works for."""
    return _current.get()
