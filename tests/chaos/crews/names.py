"""What the crew's model and the harness, which imports no CrewAI, agree upon."""

from __future__ import annotations

import random

# While the file that it names exists, the next task to begin takes it, and memory, until killed.
HUNGER_VARIABLE = "CHAOS_HUNGER"
# In the first chunk of every task, so that the log tells which attempt a kickoff was.
KICKOFF_MARK = "kickoff:"
# The tool with a side effect.
PAY = "pay"


def answer_of(key: str, task: int) -> str:
    """Return what a task answers: a function of the run's key and the task alone."""
    words = random.Random(f"{key}/{task}").randint(3, 9)
    return f"{key}/{task} " + " ".join(f"word{number}" for number in range(words))
