"""Where tools may keep what later runs of the same organisation use again.

The worker names a directory for each organisation, and reads nothing in it. Whatever a run
finds there was written by another run of its own organisation, perhaps by one that was
killed meanwhile: so a result is made under a lock, in a draft, and renamed when it is whole.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

# The rest go, least recently used first.
_KEPT: Final = 16
_DRAFT: Final = ".draft-"
_directory: ContextVar[Path | None] = ContextVar("cache_directory", default=None)


@contextmanager
def using(directory: Path | None) -> Iterator[None]:
    """Have tools keep things in this directory from here on."""
    token = _directory.set(directory)
    try:
        yield
    finally:
        _directory.reset(token)


def make_once(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the directory that `make` has filled for that key, now or in an earlier run.

    Of several runs that ask at once one makes it and the others wait. `kind` and `key` are
    names of directories. A run without a cache makes it in its working directory.
    """
    parent = (_directory.get() or Path.cwd() / ".cache") / kind
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = parent / key
    if not kept.is_dir():
        # A process that is killed lets go of the lock.
        with (parent / f"{key}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.is_dir():
                _make(parent, kept, make)
    os.utime(kept)
    return kept


def discard(kept: Path) -> None:
    """Remove what can't be read, so that it is made again."""
    shutil.rmtree(kept, ignore_errors=True)


def _make(parent: Path, kept: Path, make: Callable[[Path], None]) -> None:
    for left in parent.glob(f"{_DRAFT}{kept.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{_DRAFT}{kept.name}-", dir=parent))
    try:
        make(draft)
        draft.rename(kept)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _prune(parent)


def _prune(parent: Path) -> None:
    """Remove what was used longest ago. Whoever has it mapped goes on with it."""
    made = [entry for entry in parent.iterdir() if entry.is_dir() and entry.name[0] != "."]
    made.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for old in made[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
        old.with_name(f"{old.name}.lock").unlink(missing_ok=True)
