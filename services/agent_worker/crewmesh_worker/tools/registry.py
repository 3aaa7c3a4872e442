"""Which tools there are.

A module of `crewmesh_worker.tools.catalogue` is a tool, named like the module. It has

- `DESCRIPTION`: what the model is told about it;
- `Arguments`: a pydantic model, whose JSON schema the model is given;
- `run(arguments: Arguments) -> str`: does it, and returns what the model is shown;
- `SIDE_EFFECTS = True`, if a call changes something outside of its run: the same call is
  then made once, however often the run is taken up again;
- `RESULT_AS_ANSWER = True`, if what it returns is its task's answer, word for word.

So the names are known without importing any tool: the worker's main process checks
definitions against them and never loads what the tools need.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from crewmesh_worker.tools import catalogue


class ToolError(Exception):
    """A tool can't do what it was asked; the message tells the model what to do instead."""


@dataclass(frozen=True)
class Tool:
    """One tool, ready to be called."""

    name: str
    description: str
    arguments: type[BaseModel]
    run: Callable[[Any], str]
    side_effects: bool = False
    result_as_answer: bool = False
    # Its results are of hosts or datasets: they may say what nobody here has said.
    outside: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        return self.arguments.model_json_schema()


@cache
def tool_names() -> frozenset[str]:
    """Return the names of all tools."""
    return frozenset(module.name for module in pkgutil.iter_modules(catalogue.__path__))


@cache
def load_tool(name: str) -> Tool:
    """Return the tool of that name, importing it and what it needs."""
    module = importlib.import_module(f"{catalogue.__name__}.{name}")
    return Tool(
        name,
        module.DESCRIPTION,
        module.Arguments,
        module.run,
        getattr(module, "SIDE_EFFECTS", False),
        getattr(module, "RESULT_AS_ANSWER", False),
        getattr(module, "OUTSIDE", False),
    )
