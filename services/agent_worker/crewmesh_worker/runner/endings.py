"""What a run's tools have opened is closed when the run ends: `endings.at_end(close)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

_endings: ContextVar[ExitStack] = ContextVar("endings")


def at_end(close: Callable[[], object]) -> None:
    """Have `close` called when the run ends, whatever ends it; the last given is called first.

    Raises LookupError outside of a run.
    """
    _endings.get().callback(close)


@contextmanager
def closing() -> Iterator[None]:
    """Close, at the end, what is opened from here on."""
    with ExitStack() as stack:
        token = _endings.set(stack)
        try:
            yield
        finally:
            _endings.reset(token)
