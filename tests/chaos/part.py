"""A process of the mesh, which is brought back whenever it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

from crewmesh.cli.mesh.service import ServiceSpec

_POLL_SECONDS = 0.02
_PAUSE_SECONDS = (0.1, 1.0)
_PR_SET_PDEATHSIG = 1


class Part:
    """Runs what a ServiceSpec says, and again after each end, a seeded pause later."""

    def __init__(self, spec: ServiceSpec, log: Path, rng: random.Random) -> None:
        self.spec = spec
        self.name = spec.name
        # For whoever breaks it: one fault at a time.
        self.lock = asyncio.Lock()
        self.ready = asyncio.Event()
        # How often it ended without having been sent a signal here.
        self.own_ends = 0
        self._log = log
        self._rng = rng
        self._signalled = False
        self._process: asyncio.subprocess.Process | None = None
        self._supervision: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Return the process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Tell whether there is a process."""
        return self._process is not None and self._process.returncode is None

    def start(self) -> None:
        """Start, and start again after each end, until `stop`; `ready` is set when it serves."""
        self._supervision = asyncio.create_task(self._supervise())

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal; a deadly one makes it not ready at once."""
        assert self._process is not None
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self._signalled = True
            self.ready.clear()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, seconds: float) -> bool:
        """End it for good; return whether it ended by itself in time after being asked."""
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])
        if not self.alive:
            return True
        assert self._process is not None
        self.signal(self.spec.stop_signal)
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            return False
        return True

    async def _supervise(self) -> None:
        while True:
            await self._run_once()
            await asyncio.sleep(self._rng.uniform(*_PAUSE_SECONDS))

    async def _run_once(self) -> None:
        self.spec.prepare()
        self._signalled = False
        with self._log.open("ab") as log:
            process = self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env=self.spec.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_us(self.spec.orphan_signal),
            )
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done() and not self.spec.is_ready(process.pid):
                await asyncio.wait([ended], timeout=_POLL_SECONDS)
            if not ended.done():
                self.ready.set()
            await ended
        finally:
            ended.cancel()
            self.ready.clear()
        self.own_ends += not self._signalled


def _die_with_us(number: signal.Signals) -> Callable[[], None]:
    libc, parent = ctypes.CDLL(None), os.getpid()

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os._exit(1)

    return arm
