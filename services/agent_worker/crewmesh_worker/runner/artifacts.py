"""How a tool hands over a file that its run has made: `artifacts.save(path)`."""

from __future__ import annotations

import itertools
import mimetypes
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from crewmesh.v1.runner_pb2 import RunnerArtifact

_DIRECTORY: Final = ".artifacts"

_save: ContextVar[Callable[[Path, str, str], None]] = ContextVar("save_artifact")


def save(path: Path | str, name: str = "", media_type: str = "") -> None:
    """Keep a file of the run's working directory as an artifact of the run, as it is now.

    `name` is by default the file's own, `media_type` what its suffix says. Raises
    FileNotFoundError for what is no file, ValueError for one outside of the directory,
    LookupError outside of a run.
    """
    path = Path(path)
    name = name or path.name
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    _save.get()(path, name, media_type or guessed)


@contextmanager
def saving(work_dir: Path, announce: Callable[[RunnerArtifact], None]) -> Iterator[None]:
    """Announce what tools save from here on.

    Each file is copied first, so that what is stored later is what was saved.
    """
    numbers = itertools.count(1)

    def copy(path: Path, name: str, media_type: str) -> None:
        resolved = (work_dir / path).resolve()
        if not resolved.is_relative_to(work_dir.resolve()):
            raise ValueError(f"{path} is not in the run's working directory: write it there")
        kept = Path(_DIRECTORY, str(next(numbers)))
        (work_dir / _DIRECTORY).mkdir(exist_ok=True)
        shutil.copyfile(resolved, work_dir / kept)
        announce(RunnerArtifact(path=str(kept), name=name, media_type=media_type))

    token = _save.set(copy)
    try:
        yield
    finally:
        _save.reset(token)
