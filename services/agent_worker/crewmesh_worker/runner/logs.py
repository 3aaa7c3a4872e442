"""What a runner's own log says of a run: nothing of the run's variables."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from crewmesh_worker.redaction import Redactor


class _RedactingFormatter(logging.Formatter):
    def __init__(self, inner: logging.Formatter | None, redactor: Redactor) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets."""
        return self._redactor.redact(self._inner.format(record))


@contextmanager
def redacted_logs(values: Iterable[str]) -> Iterator[None]:
    """Keep these values out of the log for a while: an error's text may hold a key."""
    redactor = Redactor(values)
    handlers = [(handler, handler.formatter) for handler in logging.getLogger().handlers]
    for handler, formatter in handlers:
        handler.setFormatter(_RedactingFormatter(formatter, redactor))
    try:
        yield
    finally:
        for handler, formatter in handlers:
            handler.setFormatter(formatter)
