"""What the crew's model and the harness, which imports no CrewAI, agree upon."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable

# While the file that it names exists, the next task to begin takes it, and memory, until killed.
HUNGER_VARIABLE = "CHAOS_HUNGER"
# In the first chunk of every task, so that the log tells which attempt a kickoff was.
KICKOFF_MARK = "kickoff:"
# The tool with a side effect, and the one that makes a file.
PAY, SAVE = "pay", "save"

_NOTE = re.compile(r"note-(\d+)-\w+")


def note(task: int, number: int) -> str:
    """Return what a person who isn't content with a task says, another for each number."""
    return f"note-{task}-{number}"


def notes_in(text: str, task: int) -> list[str]:
    """Return the notes on a task, each once, in order of their first mention."""
    found = _NOTE.finditer(text)
    return list(dict.fromkeys(match[0] for match in found if int(match[1]) == task))


def answer_of(key: str, task: int, notes: Iterable[str] = (), data: str = "") -> str:
    """Return what a task answers: a function of the run's key, its inputs and what it was told.

    `notes` are a person's, in order, each once; `data` is the SHA-256 of the run's dataset.
    """
    words = random.Random(f"{key}/{task}").randint(3, 9)
    said = [f"{key}/{task}", *(f"word{number}" for number in range(words))]
    return " ".join([*said, *([f"data:{data}"] if data else []), *notes])


def content_of(key: str, what: str) -> bytes:
    """Return the bytes of a file of a run: CSV of up to 150 kB, a function of the arguments."""
    rng = random.Random(f"{key}/{what}")
    rows = (f"{row},{rng.random()}" for row in range(rng.randint(1, 6_000)))
    return "\n".join(("row,value", *rows, "")).encode()


def digest(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_name(task: int) -> str:
    """Return the name of the file that a task makes."""
    return f"task-{task}.csv"
