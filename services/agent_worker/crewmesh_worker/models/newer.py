"""What only a newer CrewAI has; a project may have an older one, which does without it."""

from __future__ import annotations

import importlib
from contextvars import ContextVar
from typing import Any, Final


class _NeverRaisedError(Exception):
    pass


def _found(module: str, name: str, otherwise: Any) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return otherwise


# Raised where a hook forbids a model's call.
LLMCallBlockedError: Final[type[Exception]] = _found(
    "crewai.llms.base_llm", "LLMCallBlockedError", _NeverRaisedError
)
# Set while CrewAI, or somebody in its place, makes a model's calls again.
retrying_calls: Final[ContextVar[bool]] = _found(
    "crewai.llms.retry", "_active_llm_rate_limit_retry", ContextVar("retrying", default=False)
)
