"""A service's log: appended to, a new file each day, and bounded in size."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

_TAIL_BYTES = 16_384


def _today() -> date:
    return datetime.now(UTC).date()


class LogFile:
    """A file that moves to `<name>.<day>` when its day (UTC) is over; the newest of these are kept.

    When it is full before, it moves to `<name>.1`, which replaces the one before.
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int = 16_000_000,
        keep_days: int = 14,
        today: Callable[[], date] = _today,
    ) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._keep_days = keep_days
        self._today = today
        self._day = self._day_of_file()
        self._file = path.open("ab")
        self._begin = self._file.tell()

    def write(self, chunk: bytes) -> None:
        """Append, at once."""
        if (today := self._today()) != self._day:
            self._move_to(f"{self.path.name}.{self._day}")
            self._day = today
            self._remove_old()
        elif self._file.tell() + len(chunk) > self._max_bytes:
            self._move_to(f"{self.path.name}.1")
        self._file.write(chunk)
        self._file.flush()

    def _day_of_file(self) -> date:
        """Return the day that the file, of an earlier mesh perhaps, was last written to."""
        if not self.path.exists() or not self.path.stat().st_size:
            return self._today()
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC).date()

    def _move_to(self, name: str) -> None:
        self._file.close()
        self.path.replace(self.path.with_name(name))
        self._file = self.path.open("ab")
        self._begin = 0

    def _remove_old(self) -> None:
        days = sorted(self.path.parent.glob(f"{self.path.name}.????-??-??"))
        for path in days[: -self._keep_days]:
            path.unlink(missing_ok=True)

    def tail(self, lines: int) -> list[str]:
        """Return the last lines that were written here, not by an earlier mesh."""
        with self.path.open("rb") as file:
            file.seek(max(self._begin, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
        return text.splitlines()[-lines:]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
