"""Results that a person needn't approve, though their task asks for it.

Whether somebody must look may depend on what came out. A tool decides that by rule, and
names the very text: any other result of the task still waits for a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_waived: ContextVar[set[str]] = ContextVar("waived_approvals")


@contextmanager
def waivable() -> Iterator[set[str]]:
    """Collect what tools waive from here on."""
    texts: set[str] = set()
    token = _waived.set(texts)
    try:
        yield texts
    finally:
        _waived.reset(token)


def waive(text: str) -> None:
    """Let a task end with this text, should it be its result. Without effect outside of a run."""
    _waived.get(set()).add(text)
