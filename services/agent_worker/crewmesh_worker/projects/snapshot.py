"""A project's files at one moment: their hash, and a copy that nobody changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from crewmesh.common.errors import InvalidInputError

_MAX_FILES: Final = 5_000
_MAX_BYTES: Final = 200 * 1024 * 1024
_DIGEST_CHARACTERS: Final = 12

# What a project's work leaves behind, and what is no part of what it does.
_IGNORED_DIRECTORIES: Final = frozenset(
    (
        *(".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".crewai"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".idea", ".vscode", "logs"),
    )
)
_IGNORED_SUFFIXES: Final = (".pyc", ".log", ".egg-info")
# Read anew for each run: keys are renewed more often than crews, and aren't kept twice.
ENV_FILE: Final = ".env"


def project_files(root: Path) -> list[Path]:
    """Return the project's files, relative to its root, in order.

    Raises InvalidInputError for a directory that is too large to be a project's.
    """
    files, size = [], 0
    for path in _walk(root):
        files.append(path.relative_to(root))
        size += path.stat().st_size
        if len(files) > _MAX_FILES or size > _MAX_BYTES:
            raise InvalidInputError(
                f"it has more than {_MAX_FILES:,} files or {_MAX_BYTES // 2**20} MiB: keep data "
                "and results elsewhere"
            )
    return sorted(files)


def content_digest(root: Path, files: list[Path]) -> str:
    """Return the hash of the files' names and contents."""
    digest = hashlib.sha256()
    for path in files:
        content = hashlib.sha256((root / path).read_bytes()).hexdigest()
        digest.update(f"{path.as_posix()}\0{content}\n".encode())
    return digest.hexdigest()[:_DIGEST_CHARACTERS]


def copy_files(root: Path, files: list[Path], target: Path) -> None:
    """Copy the files to `target`, which is there whole afterwards or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
    try:
        for path in files:
            copy = draft / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / path, copy)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _walk(root: Path) -> Iterator[Path]:
    for directory, directories, names in os.walk(root):
        directories[:] = [name for name in directories if not _is_ignored(name)]
        for name in names:
            path = Path(directory, name)
            # A link that leads nowhere, a socket or a pipe is no file.
            if name != ENV_FILE and not name.endswith(_IGNORED_SUFFIXES) and path.is_file():
                yield path


def _is_ignored(directory: str) -> bool:
    return directory in _IGNORED_DIRECTORIES or directory.endswith(_IGNORED_SUFFIXES)
