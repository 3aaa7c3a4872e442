"""What the pool, the zygote and its children need to know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# "package.module:name", imported in the zygote.
DottedPath = Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]


class RunnerSettings(BaseModel):
    """Settings of a pool of runners.

    `slots` runs at the same time; `spares` warm runners wait besides. A runner is replaced
    after `max_runs_per_runner` runs, or when its memory has grown by more than
    `max_growth_mb` since it was warm. `kill_grace_seconds` lie between SIGTERM and SIGKILL.
    Working directories are made in `scratch_dir`, by default on /dev/shm where it is a
    tmpfs with room. `address_space_mb` limits a runner's address space, most of which is
    the zygote's and never touched. Where `confined` and the kernel has Landlock, runners read
    below `readable`, open files by their names below `openable`, write below `writable` and their
    own directories, and connect to TCP `ports` only, or to any where that is None. `python` is another environment's interpreter, which finds
    our packages in `overlay`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: int = Field(ge=1)
    spares: int = Field(default=2, ge=0)
    max_runs_per_runner: int = Field(default=100, ge=1)
    max_growth_mb: int = Field(default=64, ge=1)
    kill_grace_seconds: float = Field(default=0.05, ge=0)
    scratch_dir: Path | None = None
    builder: DottedPath = "crewmesh_worker.crews.build:build_crew"
    model_factory: DottedPath = "crewmesh_worker.models:make_llm"
    python: Path | None = None
    overlay: Path | None = None
    max_message_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    address_space_mb: int | None = Field(default=None, ge=256)
    confined: bool = False
    readable: tuple[Path, ...] = ()
    openable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    ports: tuple[int, ...] | None = None
    max_open_files: int = Field(default=1024, ge=64)
