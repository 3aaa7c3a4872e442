"""The worker's runners: warm spares, those that run, and those kept for their affinity."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import tempfile
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import structlog

from crewmesh.common.errors import UnavailableError
from crewmesh_worker.runner import linux
from crewmesh_worker.runner.framing import AsyncConnection
from crewmesh_worker.runner.runner import Runner, RunnerDiedError
from crewmesh_worker.runner.settings import RunnerSettings
from crewmesh_worker.runner.zygote_client import ZygoteClient, ZygoteError

__all__ = ["Runner", "RunnerDiedError", "RunnerPool", "RunnerSettings"]

log = structlog.get_logger(__name__)

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a private directory is made in it
_MIN_SHARED_MEMORY_BYTES: Final = 512 * 1024 * 1024
_RETRY_SECONDS: Final = 1.0


class RunnerPool:
    """At most `slots` runners that run or wait for their affinity, and `spares` besides.

    As many again may be ending: no further one is begun before one of these is gone.
    """

    def __init__(self, settings: RunnerSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.slots)
        # Forking and warming up keeps a core busy for a while.
        self._forking = asyncio.Semaphore(os.cpu_count() or 1)
        self._zygote: asyncio.Future[ZygoteClient]
        self._spares: deque[Runner] = deque()
        self._idle: list[Runner] = []  # least recently used first
        self._running: set[Runner] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._spares_wanted = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scratch_dir: Path

    async def start(self) -> None:
        """Start the zygote and warm the first spares.

        Raises UnavailableError when CrewAI or the crews' builder can't be loaded.
        """
        self._zygote = asyncio.Future()
        self._scratch_dir = _make_scratch_dir(self._settings.scratch_dir)
        log.info("loading CrewAI for the runners; this takes seconds")
        try:
            self._zygote.set_result(await self._start_zygote())
            log.info("warming up runners", spares=self._settings.spares)
            await self._replenish()
        except (ZygoteError, RunnerDiedError, OSError) as error:
            await self.stop()
            raise UnavailableError(
                f"runners can't be started: {error}; see the log above"
            ) from error
        self._keepers = [
            asyncio.create_task(self._keep_zygote()),
            asyncio.create_task(self._keep_spares()),
        ]
        log.info(
            "runners are ready", slots=self._settings.slots, scratch_dir=str(self._scratch_dir)
        )

    async def stop(self) -> None:
        """Kill every runner and the zygote, and remove what they wrote."""
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._zygote.done():
            await self._zygote.result().stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._scratch_dir, ignore_errors=True)

    @property
    def in_use(self) -> bool:
        """Whether a runner is out."""
        return bool(self._running)

    async def acquire(self, affinity: str) -> Runner:
        """Return a runner for a run of this affinity; no other affinity ever gets it.

        It is one that has run for it before, or a warm spare, or a fresh one. Waits while
        all slots are taken. Raises RunnerDiedError when no process can be started.
        """
        await self._slots.acquire()
        try:
            runner = self._take_idle(affinity) or self._take_spare() or await self._fork()
        except BaseException:
            self._slots.release()
            raise
        runner.affinity = affinity
        self._running.add(runner)
        self._evict()
        return runner

    def _take_idle(self, affinity: str) -> Runner | None:
        for runner in reversed(self._idle):
            if runner.affinity == affinity and runner.alive:
                self._idle.remove(runner)
                return runner
        return None

    def _take_spare(self) -> Runner | None:
        self._spares_wanted.set()
        while self._spares:
            runner = self._spares.popleft()
            if runner.alive:
                return runner
        return None

    def _evict(self) -> None:
        """Retire idle runners, the least recently used first, until they fit the slots."""
        while self._idle and len(self._idle) + len(self._running) > self._settings.slots:
            leaving = self._background(self._idle.pop(0).kill())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _take_back(self, runner: Runner) -> None:
        if runner in self._running:
            self._running.discard(runner)
            # Whoever gives up waiting for it leaves neither a process nor a slot behind.
            await asyncio.shield(self._background(self._recycle(runner)))

    async def _recycle(self, runner: Runner) -> None:
        if await self._is_reusable(runner):
            self._idle.append(runner)
        else:
            await runner.kill()
        self._slots.release()

    async def _is_reusable(self, runner: Runner) -> bool:
        if runner.busy or not runner.alive:
            return False
        try:
            await runner.settle()
            await runner.clear_work_dir()
        except (RunnerDiedError, OSError):
            return False
        grown = runner.growth_bytes > self._settings.max_growth_mb * 1024 * 1024
        return runner.runs < self._settings.max_runs_per_runner and not grown

    async def _fork(self) -> Runner:
        """Fork a runner and warm it up, by the next zygote if this one dies meanwhile."""
        while True:
            zygote = await asyncio.shield(self._zygote)
            try:
                async with self._forking:
                    # On a busy machine they end more slowly than others begin.
                    while len(self._leaving) >= self._settings.slots:
                        await asyncio.wait(self._leaving, return_when=asyncio.FIRST_COMPLETED)
                    return await self._fork_from(zygote)
            except (RunnerDiedError, ZygoteError, OSError) as error:
                if not zygote.lost.is_set():
                    raise RunnerDiedError(f"no runner can be started: {error}") from error
                await zygote.died.wait()

    async def _fork_from(self, zygote: ZygoteClient) -> Runner:
        # Other runs can't guess it.
        work_dir = self._scratch_dir / secrets.token_hex(16)
        work_dir.mkdir(mode=0o700)
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as unless_forked:
            unless_forked.callback(work_dir.rmdir)
            unless_forked.callback(ours.close)
            process = await zygote.fork(theirs, work_dir)
            unless_forked.pop_all()
        connection = await AsyncConnection.open(ours, self._settings.max_message_bytes)
        runner = Runner(zygote, process, connection, work_dir, self._take_back)
        try:
            await runner.warm_up()
        except BaseException:
            await runner.kill()
            raise
        return runner

    async def _keep_spares(self) -> None:
        """Replace spares that were taken, one at a time: runs need the cores more."""
        while True:
            await self._spares_wanted.wait()
            self._spares_wanted.clear()
            try:
                await self._replenish()
            except RunnerDiedError as error:
                log.error("no spare runner", reason=error.message)
                await asyncio.sleep(_RETRY_SECONDS)
                self._spares_wanted.set()

    async def _replenish(self) -> None:
        while len(self._spares) < self._settings.spares:
            self._spares.append(await self._fork())

    async def _start_zygote(self) -> ZygoteClient:
        return await ZygoteClient.start(self._settings, self._scratch_dir)

    async def _keep_zygote(self) -> None:
        """Start a new zygote whenever the last has died; its runners have died with it."""
        while True:
            zygote = self._zygote.result()
            await zygote.lost.wait()
            self._zygote = asyncio.Future()
            await zygote.died.wait()
            log.error("the zygote died, and its runners with it; starting another")
            for runner in (*self._spares, *self._idle):
                self._background(runner.kill())
            self._spares.clear()
            self._idle.clear()
            while not self._zygote.done():
                try:
                    self._zygote.set_result(await self._start_zygote())
                except (ZygoteError, OSError) as error:
                    log.error("the zygote can't be started; trying again", reason=str(error))
                    await asyncio.sleep(_RETRY_SECONDS)
            self._spares_wanted.set()

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _make_scratch_dir(parent: Path | None) -> Path:
    """Make a private directory, on tmpfs by default where there is one with room."""
    if parent is None and linux.is_tmpfs(_SHARED_MEMORY):
        room = shutil.disk_usage(_SHARED_MEMORY).free
        parent = _SHARED_MEMORY if room >= _MIN_SHARED_MEMORY_BYTES else None
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="crewmesh-runners-", dir=parent))
