"""Which environments of projects are removed: those that nobody has used for long.

An environment is used by the workers that serve a project with it, or have runners in it. Each
holds a lock of it that ends with its process, so that another worker that shares the cache, or
the next one here, sees that it is in use. Beyond that, the time of its last use is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from crewmesh_worker.projects.environment import COMPLETE, environments_directory

log = structlog.get_logger(__name__)

# Runs that wait for a person may be pinned to a version that isn't served any more.
MAX_UNUSED_SECONDS: Final = 30 * 24 * 3600.0
# Besides those in use; each may have hundreds of megabytes.
MAX_UNUSED: Final = 20


class Holds:
    """The environments that this process uses, until it ends or lets go of them."""

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir
        self._locks: dict[str, int] = {}

    def hold(self, python: Path) -> None:
        """Use the environment of an interpreter from here on; one from elsewhere is left alone."""
        key = _key_of(self._cache_dir, python)
        if key is None or key in self._locks:
            return
        descriptor = _open_lock(self._cache_dir, key)
        # Only who prunes holds it alone, and that for a moment.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self._locks[key] = descriptor
        note_use(self._cache_dir, key)

    def release(self, python: Path) -> None:
        """Use it no more."""
        key = _key_of(self._cache_dir, python)
        if key is not None and (descriptor := self._locks.pop(key, None)) is not None:
            note_use(self._cache_dir, key)
            os.close(descriptor)


def note_use(cache_dir: Path, key: str) -> None:
    """Keep the time of an environment's last use; one that isn't there is left so."""
    with contextlib.suppress(OSError):
        os.utime(environments_directory(cache_dir) / key / COMPLETE)


def prune(cache_dir: Path, max_unused: int = MAX_UNUSED, now: float | None = None) -> list[str]:
    """Remove environments that nobody uses: the old ones, and more than so many of the others.

    `now` is in seconds since 1970. Returns the keys of those removed.
    """
    before = (time.time() if now is None else now) - MAX_UNUSED_SECONDS
    removed: list[str] = []
    kept = 0
    for last_use, key in sorted(_environments(cache_dir), reverse=True):
        with _alone(cache_dir, key) as nobody_else:
            if not nobody_else:
                continue
            if last_use >= before and kept < max_unused:
                kept += 1
                continue
            log.info("removing a project's environment that is used no more", environment=key)
            # First what says that it is whole.
            directory = environments_directory(cache_dir) / key
            (directory / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(directory, ignore_errors=True)
            removed.append(key)
    return removed


def _environments(cache_dir: Path) -> Iterator[tuple[float, str]]:
    """Yield each whole environment's last use and key; one that is being made isn't whole."""
    for complete in environments_directory(cache_dir).glob(f"*/{COMPLETE}"):
        with contextlib.suppress(FileNotFoundError):
            yield complete.stat().st_mtime, complete.parent.name


@contextlib.contextmanager
def _alone(cache_dir: Path, key: str) -> Iterator[bool]:
    """Tell whether nobody uses an environment; nobody begins to as long as this lasts."""
    descriptor = _open_lock(cache_dir, key)
    alone = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        alone = False
    try:
        yield alone
    finally:
        os.close(descriptor)


def _open_lock(cache_dir: Path, key: str) -> int:
    # It stays when the environment goes: who waits for it must wait for the same file.
    path = environments_directory(cache_dir) / f".{key}.use"
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _key_of(cache_dir: Path, python: Path) -> str | None:
    parent = environments_directory(cache_dir)
    return python.relative_to(parent).parts[0] if python.is_relative_to(parent) else None
