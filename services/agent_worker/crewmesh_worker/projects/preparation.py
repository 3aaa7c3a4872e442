"""The install step: what has to be there before a project's first run.

A cache directory holds it, for all workers that share it:

    environments/KEY                 one for each set of dependencies
    projects/NAME/VERSION/files      the snapshot of a version
    projects/NAME/VERSION/*.json     what was found out about it, and its environment's key
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from crewmesh.common.errors import CrewmeshError, InvalidInputError
from crewmesh_worker.projects import pruning
from crewmesh_worker.projects.discovery import Source, Unusable, find_projects
from crewmesh_worker.projects.environment import (
    environment_key,
    environment_python,
    environments_directory,
    is_complete,
    make_environment,
)
from crewmesh_worker.projects.inspection import Inspectors
from crewmesh_worker.projects.project import BrokenProject, Project, read_project, write_project
from crewmesh_worker.projects.snapshot import content_digest, copy_files, project_files
from crewmesh_worker.runner.overlay import make_overlay

log = structlog.get_logger(__name__)

_KEPT_VERSIONS: Final = 20
_AT_A_TIME: Final = 2
_FILES: Final = "files"
# Another name whenever other things are found out about a project.
_FACTS: Final = "project-1.json"
_ENVIRONMENT: Final = "environment.json"
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.]{0,39}\+[0-9a-f]{12}")

# Tells of a project by name: what is done for it now.
Say = Callable[[str, str], None]


async def prepare_projects(
    directory: Path, cache_dir: Path, say: Say, confinement: Mapping[str, Any]
) -> list[Project | BrokenProject]:
    """Have every project of the directory ready to run; those that can't be are broken.

    What is there already, from an earlier start or another worker, is used as it is. Their code
    is held to `confinement`, fields of RunnerSettings, while it is asked what it is.
    """
    found = await asyncio.to_thread(find_projects, directory)
    if not found:
        return []
    at_a_time = asyncio.Semaphore(_AT_A_TIME)
    readable = (*confinement.get("readable", ()), cache_dir)
    inspectors = Inspectors(make_overlay(cache_dir), {**confinement, "readable": readable})

    async def prepare(found: Source | Unusable) -> Project | BrokenProject:
        async with at_a_time:
            return await _prepare(found, cache_dir, inspectors, say)

    try:
        return list(await asyncio.gather(*(prepare(project) for project in found)))
    finally:
        await inspectors.close()


def find_version(cache_dir: Path, name: str, version: str, root: Path) -> Project | None:
    """Return an earlier version of a project, if it is still kept and its environment too."""
    if not _VERSION.fullmatch(version):
        return None  # it is a directory's name, and may be anybody's
    kept = cache_dir / "projects" / name / version
    try:
        key = json.loads((kept / _ENVIRONMENT).read_text(encoding="utf-8"))["key"]
        if not is_complete(cache_dir, key):
            return None
        pruning.note_use(cache_dir, key)
        python = environment_python(cache_dir, key)
        return read_project(kept / _FACTS, kept / _FILES, python, root)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def kept_versions(cache_dir: Path, name: str) -> list[tuple[str, float]]:
    """Return the versions of a project that are kept, newest first, and when each was made."""
    facts = (cache_dir / "projects" / name).glob(f"*/{_FACTS}")
    versions = [(path.parent.name, path.stat().st_mtime) for path in facts]
    return sorted(versions, key=lambda version: -version[1])


async def _prepare(
    found: Source | Unusable, cache_dir: Path, inspectors: Inspectors, say: Say
) -> Project | BrokenProject:
    if isinstance(found, Unusable):
        say(found.name, f"can't be run: {found.error}")
        return BrokenProject(found.name, found.root, found.error)
    try:
        project = await _prepare_source(found, cache_dir, inspectors, say)
    except (CrewmeshError, OSError) as error:
        say(found.name, f"can't be run: {error}")
        return BrokenProject(found.name, found.root, str(error), found.kind, found.description)
    say(project.name, f"is ready: {project.kind}, version {project.version}")
    return project


async def _prepare_source(
    source: Source, cache_dir: Path, inspectors: Inspectors, say: Say
) -> Project:
    files = await asyncio.to_thread(project_files, source.root)
    digest = await asyncio.to_thread(content_digest, source.root, files)
    version = f"{source.release}+{digest}"
    kept = cache_dir / "projects" / source.name / version
    async with _locked(cache_dir / "projects" / source.name):
        if (project := find_version(cache_dir, source.name, version, source.root)) is not None:
            return project
        key = environment_key(source.root)
        python = await _environment(source, cache_dir, key, say)
        say(source.name, "reading its agents, tasks and inputs")
        shutil.rmtree(kept, ignore_errors=True)  # of an attempt that was cut off
        await asyncio.to_thread(copy_files, source.root, files, kept / _FILES)
        if await asyncio.to_thread(content_digest, kept / _FILES, files) != digest:
            raise InvalidInputError("its files changed while they were read: start again")
        project = await inspectors.inspect(source, version, kept / _FILES, python)
        write_project(project, kept / _FACTS)
        (kept / _ENVIRONMENT).write_text(json.dumps({"key": key}), encoding="utf-8")
        _forget_old_versions(kept.parent)
    return project


async def _environment(source: Source, cache_dir: Path, key: str, say: Say) -> Path:
    async with _locked(environments_directory(cache_dir) / key):
        if is_complete(cache_dir, key):
            return environment_python(cache_dir, key)
        say(source.name, "installing its dependencies into an environment of its own")
        return await make_environment(source.root, cache_dir, key)


@contextlib.asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Let one worker at a time make what `path` names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _forget_old_versions(directory: Path) -> None:
    for version, _ in kept_versions(directory.parent.parent, directory.name)[_KEPT_VERSIONS:]:
        shutil.rmtree(directory / version, ignore_errors=True)
