"""Text for terminals: made safe, cut short, and in units that people read."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

# CSI and OSC sequences (also those that never end) and two-character escapes,
# then every other control character but newline and tab, then what reorders text.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]?|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_UNITS = (("kB", 1e3), ("MB", 1e6), ("GB", 1e9))


def clean(text: str) -> str:
    """Return `text` without anything that a terminal would obey."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def one_line(text: str, limit: int) -> str:
    """Return `text`, made safe, on one line of at most `limit` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def file_name(name: str) -> str:
    """Return a name from elsewhere as one that is safe for a file here."""
    plain = unicodedata.normalize("NFKC", clean(name)).replace("\\", "/").rsplit("/", 1)[-1]
    return plain.strip(". \n\t") or "artifact"


def duration(seconds: float) -> str:
    """Return 0.25 as "0.3 s", 75 as "1:15", 3700 as "1:01:40"."""
    if seconds < 59.95:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: int) -> str:
    """Return a number of bytes as "312 B", "4.2 kB", "1.5 MB"."""
    if count < 1000:
        return f"{count} B"
    unit, divisor = next((u, d) for u, d in _UNITS if count < d * 999.95 or u == "GB")
    return f"{count / divisor:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """Return "1 token", "2 tokens"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def parse_time(value: str) -> datetime:
    """Return the time that an RFC 3339 text names."""
    return datetime.fromisoformat(value)


def ago(value: str, now: datetime | None = None) -> str:
    """Return how long ago an RFC 3339 time was: "12 s ago", "3 h ago"."""
    seconds = ((now or datetime.now(UTC)) - parse_time(value)).total_seconds()
    for limit, unit, width in ((60, "s", 1), (3600, "min", 60), (86_400, "h", 3600)):
        if seconds < limit:
            return f"{max(int(seconds), 0) // width} {unit} ago"
    return f"{int(seconds) // 86_400} d ago"
