"""A service's log: appended to, and bounded in size."""

from __future__ import annotations

import os
from pathlib import Path

_TAIL_BYTES = 16_384


class LogFile:
    """A file that moves to `<name>.1` when it is full, which replaces the one before."""

    def __init__(self, path: Path, max_bytes: int = 16_000_000) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._file = path.open("ab")
        self._begin = self._file.tell()

    def write(self, chunk: bytes) -> None:
        """Append, at once."""
        if self._file.tell() + len(chunk) > self._max_bytes:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file = self.path.open("ab")
            self._begin = 0
        self._file.write(chunk)
        self._file.flush()

    def tail(self, lines: int) -> list[str]:
        """Return the last lines that were written here, not by an earlier mesh."""
        with self.path.open("rb") as file:
            file.seek(max(self._begin, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
        return text.splitlines()[-lines:]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
