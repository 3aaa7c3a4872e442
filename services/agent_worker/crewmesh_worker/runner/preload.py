"""Loads into the zygote all that a first run would otherwise import."""

from __future__ import annotations

import gc
import importlib
import logging
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from crewmesh.common.logging import configure_logging
from crewmesh_worker.runner.settings import RunnerSettings

_GRPC_EXPORTER = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"

_MODULES = (
    "crewai",
    # CrewAI imports these at its first kickoff.
    "crewai.hooks.contexts",
    "crewai.llms.cache",
    "crewai.skills.tool",
    "crewmesh_worker.runner.child",
)


@dataclass(frozen=True)
class Factories:
    """What makes a run's crew and its model; the functions that the settings name."""

    build_crew: Callable[[dict[str, Any], dict[str, Any], Any], Any]
    make_llm: Callable[[str], Any]


def preload(settings: RunnerSettings) -> Factories:
    """Import everything, build a crew so that pydantic's schemas exist, start nothing.

    Threads don't survive a fork: nothing here may start one, so no crew is kicked off.
    """
    configure_logging("runner", "WARNING")
    # CrewAI's warnings are advice to people who write Python.
    logging.getLogger("crewai").setLevel(logging.ERROR)
    with without_grpc():
        for module in _MODULES:
            importlib.import_module(module)
        factories = Factories(_imported(settings.builder), _imported(settings.model_factory))
    _share_state_class()
    _build_a_crew()
    # Frozen objects are never looked at by a child's garbage collector, so their pages stay
    # shared.
    gc.collect()
    gc.freeze()
    return factories


@contextmanager
def without_grpc() -> Iterator[None]:
    """Keep chromadb, which CrewAI imports, from loading gRPC for telemetry that is off.

    gRPC's core doesn't survive a fork. A tool that needs it may still import it in a child.
    """
    stand_in = types.ModuleType(_GRPC_EXPORTER)
    stand_in.OTLPSpanExporter = None  # type: ignore[attr-defined]
    sys.modules[_GRPC_EXPORTER] = stand_in
    try:
        yield
    finally:
        del sys.modules[_GRPC_EXPORTER]


def _share_state_class() -> None:
    """Make the class of agents' states once.

    CrewAI makes it anew for each agent of each run, unless it is a FlowState already: a
    fifth of a short run's time.
    """
    try:
        from crewai.agents.agent_executor import AgentExecutor, AgentExecutorState
        from crewai.flow.runtime import FlowState
    except ImportError:
        return  # a project's older CrewAI, which has it elsewhere

    state_class = type("StateWithId", (FlowState, AgentExecutorState), {"__module__": __name__})
    AgentExecutor._initial_state_t = state_class  # type: ignore[attr-defined]


def _build_a_crew() -> None:
    from crewmesh_worker.runner.warm_up import warm_up_crew

    warm_up_crew()


def _imported(path: str) -> Callable[..., Any]:
    module, name = path.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
