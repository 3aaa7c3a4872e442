"""One process of the mesh: started, watched, brought back, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crewmesh.cli.errors import CliError
from crewmesh.cli.mesh.log_file import LogFile

# Tells of a service: its name, its phase (waiting, starting, ready, down, stopping, stopped)
# and what more there is to say.
Report = Callable[[str, str, str], None]

_POLL_SECONDS = 0.02
_STEADY_SECONDS = 60.0
_UNREADY_GRACE_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ServiceSpec:
    """How a service is run.

    `is_ready` gets the process's id, and is asked until it says yes. `stop_signal` asks the
    process to end; `orphan_signal` reaches it (on Linux) when we are killed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[int], bool]
    prepare: Callable[[], None] = lambda: None
    stop_signal: signal.Signals = signal.SIGTERM
    force_signal: signal.Signals = signal.SIGKILL
    orphan_signal: signal.Signals = signal.SIGKILL
    grace_seconds: float = 15.0
    start_seconds: float = 90.0
    first_restart_seconds: float = 0.5


class StartError(Exception):
    """A service ended, or hung, before it was ready."""


class Service:
    """A service's process, and those that follow it when it falls."""

    def __init__(self, spec: ServiceSpec, log: LogFile, report: Report) -> None:
        self.spec = spec
        self._log = log
        self._report = report
        self._ready = False
        self._process: asyncio.subprocess.Process | None = None
        self._outputs: set[asyncio.Task[None]] = set()
        self._supervision: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start and wait until it is ready; raise CliError with the log's end when it fails."""
        try:
            await self._start_process()
        except StartError as error:
            await self._end_outputs()
            raise self._failure(str(error)) from None

    def supervise(self) -> None:
        """From now on, bring it back whenever it falls."""
        self._supervision = asyncio.create_task(self._bring_back_forever())

    async def stop(self, force: asyncio.Event) -> None:
        """Ask it to end, wait for its grace period or for `force`, then kill it."""
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            self._report(self.spec.name, "stopping", "")
            await self._end(process, force)
            self._report(self.spec.name, "stopped", "")
        await self._end_outputs()
        self._log.close()

    async def _start_process(self) -> None:
        spec = self.spec
        self._report(spec.name, "starting", "")
        spec.prepare()
        self._ready = False
        # A pipe of our own: asyncio's would make us wait for whoever else holds it.
        readable, writable = os.pipe()
        self._outputs.add(output := asyncio.create_task(self._keep_output(readable)))
        output.add_done_callback(self._outputs.discard)
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.command,
                env=spec.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writable,
                stderr=writable,
                # A Ctrl-C at the terminal is for us: we stop them in order.
                start_new_session=True,
                preexec_fn=_die_with_parent(spec.orphan_signal),
            )
        finally:
            os.close(writable)
        self._process = process
        await self._wait_until_ready(process)
        self._ready = True
        self._report(spec.name, "ready", "")

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        exited = asyncio.ensure_future(process.wait())
        deadline = asyncio.get_running_loop().time() + self.spec.start_seconds
        try:
            while not self.spec.is_ready(process.pid):
                if exited.done():
                    raise StartError(_describe_exit(exited.result()))
                if asyncio.get_running_loop().time() > deadline:
                    _signal_group(process, signal.SIGKILL)
                    await exited
                    raise StartError(f"was not ready after {self.spec.start_seconds:.0f} s")
                await asyncio.wait([exited], timeout=_POLL_SECONDS)
        finally:
            exited.cancel()

    async def _bring_back_forever(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self.spec.first_restart_seconds
        while True:
            assert self._process is not None
            ready_since = loop.time()
            trouble = _describe_exit(await self._process.wait())
            if loop.time() - ready_since > _STEADY_SECONDS:
                wait = self.spec.first_restart_seconds
            while trouble:
                self._report(self.spec.name, "down", f"{trouble}; starting again in {wait:.1f} s")
                await asyncio.sleep(wait)
                wait = min(wait * 2, 30.0)
                try:
                    await self._start_process()
                    trouble = ""
                except (StartError, OSError) as error:
                    trouble = str(error)

    async def _end(self, process: asyncio.subprocess.Process, force: asyncio.Event) -> None:
        exited = asyncio.ensure_future(process.wait())
        forced = asyncio.ensure_future(force.wait())
        if not force.is_set():
            _signal_process(process, self.spec.stop_signal)
            # Who isn't ready yet has nothing to finish.
            grace = self.spec.grace_seconds if self._ready else _UNREADY_GRACE_SECONDS
            await asyncio.wait([exited, forced], timeout=grace, return_when="FIRST_COMPLETED")
        if not exited.done():
            _signal_process(process, self.spec.force_signal)
            await asyncio.wait([exited], timeout=5)
        # Also those of its children that stayed in its group.
        _signal_group(process, signal.SIGKILL)
        await exited
        forced.cancel()

    async def _keep_output(self, readable: int) -> None:
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(readable, "rb")
        )
        try:
            while chunk := await stream.read(65_536):
                self._log.write(chunk)
        finally:
            transport.close()

    async def _end_outputs(self) -> None:
        if outputs := set(self._outputs):
            # What it left behind may hold the pipe open: the log doesn't wait for that.
            _, open_still = await asyncio.wait(outputs, timeout=1)
            for output in open_still:
                output.cancel()

    def _failure(self, trouble: str) -> CliError:
        return CliError(
            f"{self.spec.name} {trouble}",
            why="the end of its log says" if (tail := self._log.tail(12)) else "it logged nothing",
            details=tail,
            next_step=f"the whole log is {self._log.path}; `crewmesh doctor` checks this machine",
        )


def _die_with_parent(orphan_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what a child does before it executes, so that it doesn't outlive us."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(orphan_signal))
        if os.getppid() != parent:
            os._exit(1)

    return arm


def _describe_exit(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with status {returncode}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"was killed by signal {-returncode}"


def _signal_process(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
