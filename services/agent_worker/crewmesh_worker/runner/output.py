"""What a run's code prints, as events of the run."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Final

MAX_LINES: Final = 1000


class PrintedLines(io.TextIOBase):
    """A stand-in for sys.stdout that hands on each line, MAX_LINES of them at most."""

    encoding = "utf-8"

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._lock = threading.RLock()
        self._rest = ""
        self._lines = 0

    def write(self, text: str) -> int:
        """Take a text; what follows its last line break waits for the next."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._line(line)
        return len(text)

    def finish(self) -> None:
        """Hand on a last line that has no break."""
        with self._lock:
            self._line(self._rest)
            self._rest = ""

    def fileno(self) -> int:
        """Return the real output's, for programs that a tool starts; nobody reads it."""
        return 1

    def writable(self) -> bool:
        """Return True."""
        return True

    def _line(self, line: str) -> None:
        if not line.strip() or self._lines > MAX_LINES:
            return
        self._lines += 1
        if self._lines > MAX_LINES:
            line = f"more than {MAX_LINES} lines were printed; the rest is dropped"
        self._emit(line)
