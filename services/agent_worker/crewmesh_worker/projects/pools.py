"""Runners of projects: a pool for each environment, of which a few are kept warm."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from crewmesh_worker.projects.project import Project
from crewmesh_worker.projects.pruning import Holds
from crewmesh_worker.runner.overlay import make_overlay
from crewmesh_worker.runner.pool import Runner, RunnerPool, RunnerSettings

log = structlog.get_logger(__name__)

# Imported before the fork; what `build` and `load` need is the same.
_BUILDER: Final = "crewmesh_worker.projects.inside.loading:load"


class _Pool:
    """A pool that starts at its first use."""

    def __init__(self, settings: RunnerSettings) -> None:
        self.pool = RunnerPool(settings)
        self.waiting = 0
        self._starting: asyncio.Task[None] | None = None

    @property
    def in_use(self) -> bool:
        """Whether a run has, or waits for, one of its runners."""
        return self.waiting > 0 or self.pool.in_use

    async def started(self) -> RunnerPool:
        """Return the pool once it has runners. Raises UnavailableError, and tries again later."""
        if self._starting is None:
            self._starting = asyncio.create_task(self.pool.start())
        try:
            # Whoever gives up waiting must not end it for the others.
            await asyncio.shield(self._starting)
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._starting = None
            raise
        return self.pool

    async def stop(self) -> None:
        """End what has been started."""
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
            if self._starting.exception() is None:
                await self.pool.stop()


class ProjectPools:
    """At most `kept` pools, but for those in use; the least recently used ends first.

    A runner serves one run: a project's modules are as good as new each time.
    """

    def __init__(
        self,
        kept: int,
        slots: int,
        scratch_dir: Path | None,
        cache_dir: Path,
        confinement: Mapping[str, Any] | None = None,
    ) -> None:
        """`confinement`: what its fields in RunnerSettings are, besides the projects' own files."""
        self._confinement = {"readable": (), **(confinement or {})}
        self._kept = kept
        self._slots = slots
        self._scratch_dir = scratch_dir
        self._cache_dir = cache_dir
        self._pools: OrderedDict[Path, _Pool] = OrderedDict()
        self._holds = Holds(cache_dir)
        self._ending: set[asyncio.Task[None]] = set()

    async def acquire(self, project: Project, affinity: str) -> Runner:
        """Return a fresh runner of the project's environment.

        Raises UnavailableError when CrewAI can't be loaded there, RunnerDiedError when no
        process can be started.
        """
        pool = self._pools.get(project.python)
        if pool is None:
            self._holds.hold(project.python)
            pool = self._pools[project.python] = _Pool(self._settings(project.python))
        self._pools.move_to_end(project.python)
        self._evict()
        pool.waiting += 1
        try:
            return await (await pool.started()).acquire(affinity)
        finally:
            pool.waiting -= 1

    async def stop(self) -> None:
        """End every runner."""
        await asyncio.gather(*(pool.stop() for pool in self._pools.values()), *self._ending)
        self._pools.clear()

    def _evict(self) -> None:
        newest = next(reversed(self._pools))
        idle = [p for p, pool in self._pools.items() if p != newest and not pool.in_use]
        for python in idle[: max(0, len(self._pools) - self._kept)]:
            log.info("ending the runners of a project's environment", python=str(python))
            task = asyncio.create_task(self._end(python, self._pools.pop(python)))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end(self, python: Path, pool: _Pool) -> None:
        await pool.stop()
        if python not in self._pools:  # by now there may be another
            self._holds.release(python)

    def _settings(self, python: Path) -> RunnerSettings:
        return RunnerSettings(
            slots=self._slots,
            spares=1,
            max_runs_per_runner=1,
            scratch_dir=self._scratch_dir,
            builder=_BUILDER,
            python=python,
            overlay=make_overlay(self._cache_dir),
            **{**self._confinement, "readable": (*self._confinement["readable"], self._cache_dir)},
        )
