"""`python -m crewmesh_worker.projects DIR CACHE`: the install step alone, for an image, say."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from crewmesh_worker.projects.preparation import prepare_projects


def main() -> None:
    """Have every project of DIR ready in CACHE; say what is done, a line each.

    A project that can't be run is said, and is no reason to fail: the others can.
    """
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python -m crewmesh_worker.projects DIR CACHE\n")
        raise SystemExit(2)
    directory, cache_dir = (Path(argument).absolute() for argument in sys.argv[1:])

    def say(name: str, message: str) -> None:
        sys.stdout.write(f"{name}\t{' '.join(message.split())}\n")
        sys.stdout.flush()

    asyncio.run(prepare_projects(directory, cache_dir, say, {"confined": True}))


if __name__ == "__main__":
    main()
