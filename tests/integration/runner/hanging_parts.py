"""What processes of a pool do that are to be killed; they import nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path


def hang(path: str, start: int, stop: int) -> None:
    """Say that it has begun, and never end."""
    Path(f"{os.environ['HANGING_PARTS']}-{start}").touch()
    while True:
        time.sleep(60)
