"""A runner as the worker sees it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from crewmesh.common.errors import CrewmeshError
from crewmesh.v1.runner_pb2 import Execute, FromRunner, ToRunner, WarmUp
from crewmesh_worker.runner import linux
from crewmesh_worker.runner.framing import AsyncConnection, FramingError
from crewmesh_worker.runner.zygote_client import RunnerProcess, ZygoteClient

_WARM_UP_SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 5.0
# Between the end of its socket and that of its process.
_EXIT_SECONDS: Final = 1.0


class RunnerDiedError(CrewmeshError):
    """A runner's process ended before its run did; the message says how."""

    default_reason = "RUNNER_DIED"


class Runner:
    """A process that runs one crew at a time, in `work_dir`, always for the same affinity.

    Whoever acquired it releases it, killed or not.
    """

    def __init__(
        self,
        zygote: ZygoteClient,
        process: RunnerProcess,
        connection: AsyncConnection,
        work_dir: Path,
        take_back: Callable[[Runner], Awaitable[None]],
    ) -> None:
        self.pid = process.pid
        self.work_dir = work_dir
        self.affinity = ""
        self.runs = 0
        self._zygote = zygote
        self._process = process
        self._connection = connection
        self._take_back = take_back
        self._warm_bytes = 0
        self._busy = False
        self._ready = False
        self._killed = False

    @property
    def alive(self) -> bool:
        """False once the process has ended or is being killed."""
        return not (self._killed or self._process.exited.done())

    @property
    def busy(self) -> bool:
        """True from a run's begin until it has said how it ended."""
        return self._busy

    @property
    def growth_bytes(self) -> int:
        """How much memory it has got since it was warm."""
        return linux.resident_bytes(self.pid) - self._warm_bytes

    async def warm_up(self) -> None:
        """Run a throw-away crew. Raises RunnerDiedError."""
        await self._send(ToRunner(warm_up=WarmUp()))
        await self.settle(_WARM_UP_SECONDS)
        self._warm_bytes = linux.resident_bytes(self.pid)

    async def execute(self, request: Execute) -> AsyncIterator[FromRunner]:
        """Run a crew and yield what the runner says, up to Finished, Failed or Waiting.

        The request's `work_dir` is set to this runner's. The runner waits while nobody
        takes its messages. Raises RunnerDiedError when the process ends first, and when
        it sends what is no message, for which it is killed.
        """
        request.work_dir = str(self.work_dir)
        self._busy, self._ready = True, False
        self.runs += 1
        await self._send(ToRunner(execute=request))
        while True:
            message = await self._receive()
            kind = message.WhichOneof("message")
            if kind == "ready":
                await self._die("it forgot its run")
            self._busy = kind not in ("finished", "failed", "waiting")
            yield message
            if not self._busy:
                return

    async def answer(self, reply: ToRunner) -> None:
        """Give the runner what it has asked for, and waits for."""
        await self._send(reply)

    async def settle(self, seconds: float = _SETTLE_SECONDS) -> None:
        """Wait until the last run's traces are gone and the next may come.

        Raises RunnerDiedError, also when that takes too long.
        """
        try:
            async with asyncio.timeout(seconds):
                while not self._ready:
                    message = await self._receive()
                    self._ready = message.HasField("ready")
        except TimeoutError:
            await self._die(f"it wasn't ready within {seconds:.0f} s")

    async def kill(self) -> None:
        """End the process and all its descendants, and return once none of them is left.

        They get SIGTERM, and after the grace SIGKILL. Its files are gone then, too.
        """
        self._killed = True
        self._zygote.kill(self._process)
        await asyncio.shield(self._process.gone)
        self._connection.close()
        await asyncio.to_thread(shutil.rmtree, self.work_dir, ignore_errors=True)

    async def release(self) -> None:
        """Give the runner back: it is kept for its affinity's next run, or retired."""
        await self._take_back(self)

    async def clear_work_dir(self) -> None:
        """Remove what the last run left in the directory."""
        await asyncio.to_thread(_empty, self.work_dir)

    async def _send(self, message: ToRunner) -> None:
        try:
            await self._connection.send(message)
        except OSError:
            await self._die()
        except FramingError as error:
            await self._die(f"it can't be told what to run: {error}")

    async def _receive(self) -> FromRunner:
        try:
            return await self._connection.receive()
        except (EOFError, OSError):
            await self._die()
        except FramingError as error:
            await self._die(str(error))
        raise AssertionError("unreachable")

    async def _die(self, reason: str = "") -> None:
        """Make sure that it's dead, and raise."""
        if self._killed:
            reason = "it was killed"
        elif not reason:
            await asyncio.wait([self._process.exited], timeout=_EXIT_SECONDS)
            reason = "it closed its connection" if self.alive else ""
        await self.kill()
        status = self._process.exited.result()
        if status is None:
            reason = "its parent process died"
        elif not reason:
            reason = _describe(status)
        raise RunnerDiedError(f"the runner process {self.pid} died: {reason}")


def _describe(status: int) -> str:
    if os.WIFEXITED(status):
        return f"exited with status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    name = "out of memory?" if number == signal.SIGKILL else signal.Signals(number).name
    return f"killed by signal {number} ({name})"


def _empty(directory: Path) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
