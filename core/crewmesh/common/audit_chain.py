"""Whether an audit log is whole: every entry there, and none changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

# In place of a hash before the first entry.
NOTHING: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its number, the text that is hashed, and its hash with the one before it."""

    seq: int
    text: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at an entry."""

    seq: int
    what: str


@dataclass
class ChainVerifier:
    """Takes the entries of one log, oldest first, and finds those that are changed or missing.

    After a fault it goes on from what it found, so each fault is told once.
    """

    seq: int = 0
    hash: bytes = NOTHING
    faults: list[Fault] = field(default_factory=list)

    def check(self, entries: Iterable[Entry]) -> None:
        """Go on with the entries that come next."""
        for entry in entries:
            whole = entry.seq == self.seq + 1
            if entry.seq <= self.seq:
                self.faults.append(Fault(entry.seq, "its number is there twice"))
            elif not whole:
                self.faults.append(Fault(self.seq + 1, f"missing, up to {entry.seq - 1}"))
            if whole and entry.hash != hash_after(self.hash, entry.text):
                self.faults.append(Fault(entry.seq, "its hash doesn't fit it and those before it"))
            elif _number_in(entry.text) != entry.seq:
                self.faults.append(Fault(entry.seq, "it says another number of itself"))
            self.seq, self.hash = entry.seq, entry.hash

    def finish(self, head: Entry | None, noted: tuple[int, bytes] | None = None) -> None:
        """Compare with the newest entry that the log says it has."""
        if head is not None and head.seq > self.seq:
            self.faults.append(Fault(self.seq + 1, f"missing, up to {head.seq}"))
        elif head is not None and (head.seq, head.hash) != (self.seq, self.hash):
            self.faults.append(Fault(head.seq, "the log's end isn't what was recorded as its end"))
        if noted is not None and noted[0] > self.seq:
            self.faults.append(Fault(self.seq + 1, f"missing, up to {noted[0]}, which was noted"))


def hash_after(before: bytes, text: str) -> bytes:
    """Return the hash of an entry, by the hash before it."""
    return hashlib.sha256(before + text.encode()).digest()


def _number_in(text: str) -> object:
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry.get("seq") if isinstance(entry, dict) else None
