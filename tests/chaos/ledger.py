"""What was really executed: an append-only file outside of the mesh, a line for each thing done.

Runners write it themselves, so it holds what the mesh may have forgotten.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

# Names the file in runners' environment.
LEDGER_VARIABLE = "CHAOS_LEDGER"


@dataclass(frozen=True)
class Entry:
    """Something was begun: a task (`what` is "task") or a call with a side effect ("effect").

    `kickoff` is the same for all that one process did in one go, which began at `begun_at`, by
    the machine's clock.
    """

    what: str
    key: str
    task: int
    kickoff: str
    begun_at: float


def record(entry: Entry) -> None:
    """Append a line, in one write, so that those of several processes don't mix."""
    file = os.open(os.environ[LEDGER_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, (json.dumps(asdict(entry)) + "\n").encode())
    finally:
        os.close(file)


def read(path: Path) -> list[Entry]:
    """Return all lines, oldest first."""
    if not path.exists():
        return []
    return [Entry(**json.loads(line)) for line in path.read_text().splitlines()]


def now() -> float:
    """Return the time as the ledger and, on one machine, Postgres tell it; seconds."""
    return time.time()
