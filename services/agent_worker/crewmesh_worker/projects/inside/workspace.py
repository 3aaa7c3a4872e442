"""A run's own copy of a project, and the files that the run makes in it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

# Beside each other in the run's directory, so that what CrewAI and programs write at home
# is no file of the project.
COPY: Final = "project"
HOME: Final = "home"

_MAX_FILES: Final = 100
_MAX_BYTES: Final = 256 * 1024 * 1024
_MAX_NAME: Final = 200
_IGNORED: Final = frozenset(("__pycache__", ".git", ".venv", "node_modules", ".crewai"))


class Workspace:
    """The copy. `collect` tells of each file that is new or has been written to since."""

    def __init__(self, work_dir: Path, save: Callable[[Path, str], None]) -> None:
        self.directory = work_dir / COPY
        self.home = work_dir / HOME
        self._save = save
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self._left = _MAX_FILES, _MAX_BYTES
        self._refused: set[Path] = set()
        self._saved: dict[str, bytes] = {}

    def fill(self, snapshot: Path, made: Path | None, env_file: str) -> None:
        """Put the project's files there, over them what earlier attempts made, and its .env."""
        shutil.copytree(snapshot, self.directory)
        if made is not None:
            shutil.copytree(made, self.directory, dirs_exist_ok=True)
        if env_file:
            (self.directory / ".env").write_text(env_file, encoding="utf-8")
        self.home.mkdir()
        self._seen = dict(self._files())

    def collect(self) -> list[str]:
        """Save what the run has made or changed; return the names of files that are too much."""
        refused = []
        for path, state in self._files():
            if self._seen.get(path) == state:
                continue
            self._seen[path] = state
            name = path.relative_to(self.directory).as_posix()
            if self._takes(name, state[1]):
                self._save_new(path, name)
            elif path not in self._refused:
                self._refused.add(path)
                refused.append(name)
        return refused

    def _save_new(self, path: Path, name: str) -> None:
        """Save the file, unless it was saved with the same content before."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        if self._saved.get(name) != digest:
            self._saved[name] = digest
            self._save(path, name)

    def _takes(self, name: str, size: int) -> bool:
        files, room = self._left
        if files == 0 or size > room or len(name) > _MAX_NAME or not name.isprintable():
            return False
        self._left = files - 1, room - size
        return True

    def _files(self) -> Iterator[tuple[Path, tuple[int, int, int]]]:
        for directory, directories, names in os.walk(self.directory):
            directories[:] = sorted(name for name in directories if name not in _IGNORED)
            for name in sorted(names):
                path = Path(directory, name)
                # The project's secrets are no result.
                if name == ".env" or name.endswith(".pyc") or path.is_symlink():
                    continue
                if path.is_file():
                    stat = path.stat()
                    yield path, (stat.st_mtime_ns, stat.st_size, stat.st_ino)
