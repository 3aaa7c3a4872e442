"""Finds what a project runs, and makes a new one of it; never calls its own `run()`."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from crewai import Crew
from crewai.flow.flow import Flow

from crewmesh_worker.projects.inside.script import called_names, literal_inputs

with contextlib.suppress(ImportError):
    # Imported here, once: runners are forked from a process that has this module.
    import crewai.flow.expressions
    import crewai.project.crew_loader  # noqa: F401


class LoadError(Exception):
    """There is nothing in the project that could be run; the message says where was looked."""


@dataclass
class Loaded:
    """A new crew or flow, and the inputs that the project starts it with by itself.

    `defaults` are values, `computed` Python expressions, such as today's date, to be
    evaluated in `module` when a run needs them.
    """

    target: Any
    defaults: dict[str, Any] = field(default_factory=dict)
    computed: dict[str, str] = field(default_factory=dict)
    module: ModuleType | None = None

    @property
    def is_flow(self) -> bool:
        """Whether it is a flow; else it is a crew."""
        return isinstance(self.target, Flow)

    def compute(self, name: str) -> Any:
        """Evaluate one of the expressions; raises whatever it raises."""
        names = vars(self.module) if self.module else {}
        return eval(self.computed[name], dict(names))  # noqa: S307 - the project's own code


def load(directory: Path, entry: dict[str, str]) -> Loaded:
    """Load the project whose files are in `directory`; raises whatever its code raises."""
    # As an installed project: its packages are found, wherever its layout has them.
    sys.path[:0] = [str(path) for path in (directory / "src", directory) if path.is_dir()]
    if entry["definition"]:
        return _load_definition(directory / entry["definition"], entry["kind"])
    module_name, _, function = entry["script"].partition(":")
    module = importlib.import_module(module_name)
    source = inspect.getsource(module)
    if entry["kind"] == "flow":
        flow = _choose(_flows(module), called_names(source, function), module_name, "Flow class")
        return Loaded(flow(), module=module)
    defaults, computed = literal_inputs(source, function)
    return Loaded(_crew(module, called_names(source, function)), defaults, computed, module)


def _load_definition(path: Path, kind: str) -> Loaded:
    if kind == "flow":
        return Loaded(Flow.from_declaration(path=path))
    from crewai.project.crew_loader import load_crew

    crew, defaults = load_crew(path)
    return Loaded(crew, dict(defaults or {}))


def _crew(module: ModuleType, called: set[str]) -> Crew:
    bases = _crew_bases(module)
    if not bases:
        # Some start their crew by other means; the crew's own module is where CrewAI puts it.
        package = module.__name__.rpartition(".")[0]
        bases = _crew_bases(importlib.import_module(f"{package}.crew")) if package else {}
    crew = _choose(bases, called, module.__name__, "@CrewBase class")().crew()
    if not isinstance(crew, Crew):
        raise LoadError(f"its crew() returned a {type(crew).__name__}, and no Crew")
    return crew


def _crew_bases(module: ModuleType) -> dict[str, Any]:
    return {n: v for n, v in vars(module).items() if getattr(v, "is_crew_class", False)}


def _flows(module: ModuleType) -> dict[str, Any]:
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Flow)
        and not value.__module__.startswith("crewai.")
    }
    # One that another builds on isn't what is started.
    bases = {base for flow in found.values() for base in flow.__mro__[1:]}
    return {name: flow for name, flow in found.items() if flow not in bases}


def _choose(found: dict[str, Any], called: Iterable[str], module: str, what: str) -> Any:
    """Return the only one, or the only one that the script's function names."""
    distinct = {id(value): name for name, value in found.items()}
    names = list(distinct.values())
    if len(names) > 1:
        names = [name for name in names if name in set(called)]
    if len(names) == 1:
        return found[names[0]]
    there = ", ".join(sorted(found)) or "none"
    raise LoadError(
        f"one {what} is expected in {module}, and there are: {there}; name the one to run in the "
        "function that [project.scripts] starts"
    )
