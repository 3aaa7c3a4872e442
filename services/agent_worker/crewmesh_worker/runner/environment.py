"""The environment of runner processes: nothing of the worker's but what every program needs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# Names every process of a pool, so that strays can be found.
MARKER: Final = "CREWMESH_RUNNERS"

_INHERITED: Final = (
    "PATH",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    # Set where tests are measured only: see `make report`.
    "COVERAGE_PROCESS_CONFIG",
)

_FIXED: Final = {
    # Nothing phones home.
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "OTEL_SDK_DISABLED": "true",
    # The zygote must stay single-threaded, and a machine has many runners.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # An arena a thread would multiply a runner's memory.
    "MALLOC_ARENA_MAX": "2",
}

_DIRECTORIES: Final = ("HOME", "TMPDIR", "CREWAI_STORAGE_DIR")


def zygote_environment(marker: str, home: Path) -> dict[str, str]:
    """Return the whole environment that a zygote starts with."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, **_FIXED, MARKER: marker, **_directories(home)}


def project_environment(marker: str, home: Path) -> dict[str, str]:
    """Return the same for a process of a project: our packages' path is not for its Python."""
    environment = zygote_environment(marker, home)
    environment.pop("PYTHONPATH", None)
    return environment


def add_variables(variables: Mapping[str, str | None]) -> None:
    """Set variables here, but for those that a run can't override."""
    protected = {*_FIXED, MARKER, *_DIRECTORIES}
    os.environ.update({n: v for n, v in variables.items() if v is not None and n not in protected})


@contextmanager
def run_environment(
    work_dir: Path, variables: Mapping[str, str], home: Path | None = None
) -> Iterator[None]:
    """Give this process a run's directory and variables for a while; nothing of them stays.

    The directory becomes its working directory, and, unless there is a `home`, its home and
    where temporary files and CrewAI's own go. What keeps a runner quiet and findable can't
    be overridden.
    """
    outside, directory = dict(os.environ), Path.cwd()
    kept = {name: outside[name] for name in (*_FIXED, MARKER) if name in outside}
    os.environ.update({**variables, **kept, **_directories(home or work_dir)})
    os.chdir(work_dir)
    tempfile.tempdir = None  # it remembers the last TMPDIR
    try:
        yield
    finally:
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(outside)
        tempfile.tempdir = None


def _directories(home: Path) -> dict[str, str]:
    return dict.fromkeys(_DIRECTORIES, str(home))
