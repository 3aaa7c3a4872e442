"""The install step of CrewAI projects, before the workers start: it may take minutes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from crewmesh.cli.errors import CliError
from crewmesh.cli.mesh.service import Report

_PYPROJECTS = ("pyproject.toml", "*/pyproject.toml")


async def prepare_projects(directory: Path, cache_dir: Path, report: Report) -> None:
    """Have the worker's package install what the directory's projects need, and say what it does.

    Raises CliError when that fails as a whole. A project that can't be run is only said.
    """
    if not any(next(directory.glob(pattern), None) for pattern in _PYPROJECTS):
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crewmesh_worker.projects", str(directory), str(cache_dir)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    last = ""
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            last = line.decode(errors="replace").strip()
            name, tab, message = last.partition("\t")
            if tab:
                report(f"project {name}", "preparing", message)
        status = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
    if status != 0:
        raise CliError(
            f"the projects in {directory} can't be prepared",
            why=last or f"it ended with status {status}",
            next_step="mend that, or start without --crews",
        )
