"""What the tools of one run share: its datasets, its evidence, its pages, its policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crewmesh_worker.tools.database import Database
from crewmesh_worker.tools.evidence import Evidence
from crewmesh_worker.tools.registry import ToolError

if TYPE_CHECKING:
    from crewmesh_worker.tools.network.run import Network


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
    # What the tenant's policy says of tools and hosts, as its JSON: {"hosts": {"allowed": names
    # or null, "private": bool}, ...}. Empty: every public host is allowed.
    policy: Mapping[str, Any] = field(default_factory=dict)
    # Opened by the first tool that needs it.
    network: Network | None = None
    # The texts of the pages that were fetched in this attempt, by their numbers.
    pages: dict[int, str] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)
    # Gives the outputs of the tasks that an earlier attempt finished: they name its charts.
    earlier_outputs: Callable[[], list[str]] = list
    # Gives the results of finished tasks that a person approved, or by rule needn't.
    approved_outputs: Callable[[], list[str]] = list

    def require_tool(self, name: str) -> None:
        """Raise ToolError unless the policy lets one tool use another on a run's behalf."""
        tools = self.policy.get("tools") or {}
        allowed = tools.get("allowed")
        denied = name in (tools.get("denied") or ()) or (
            allowed is not None and name not in allowed
        )
        asked = name in ((self.policy.get("approval") or {}).get("tools") or ())
        if denied or asked:
            why = "needs a person's approval: call it itself" if asked else "is not allowed here"
            raise ToolError(f"the organisation's policy says that {name} {why}")

    def page_number(self, url: str) -> int:
        """Return the number by which a page is cited: the same each time it is fetched."""
        return self._numbers.setdefault(url, len(self._numbers) + 1)


_current: ContextVar[RunContext] = ContextVar("run_context")


def enter_run(datasets: Mapping[str, Path], inputs: Mapping[str, Any] | None = None) -> RunContext:
    """Make this the run that tools called from here on work for."""
    context = RunContext(Database(datasets), inputs or {})
    _current.set(context)
    return context


def current_run() -> RunContext:
    """Return the run that the calling tool works for."""
    return _current.get()
