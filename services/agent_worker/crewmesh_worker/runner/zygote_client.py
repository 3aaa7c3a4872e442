"""The worker's side of a zygote: starts it, asks it for runners, hears of their ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import structlog

from crewmesh_worker.runner.environment import (
    MARKER,
    project_environment,
    zygote_environment,
)
from crewmesh_worker.runner.overlay import python_command
from crewmesh_worker.runner.settings import RunnerSettings

log = structlog.get_logger(__name__)

_MODULE: Final = "crewmesh_worker.runner.zygote"
_PACKET_BYTES: Final = 4096
_STOP_SECONDS: Final = 5.0


class ZygoteError(Exception):
    """The zygote is gone, or can't fork."""


@dataclass
class RunnerProcess:
    """A forked process. `exited` gives its wait status, None where the zygote died with it.

    `gone` is done once none of its descendants is left either.
    """

    pid: int
    exited: asyncio.Future[int | None] = field(default_factory=asyncio.Future)
    gone: asyncio.Future[None] = field(default_factory=asyncio.Future)


class ZygoteClient:
    """A running zygote. `lost` is set once it forks no more, `died` once nothing of it is left."""

    def __init__(self, control: socket.socket, marker: str) -> None:
        self.lost = asyncio.Event()
        self.died = asyncio.Event()
        self._control = control
        self._marker = marker
        self._process: asyncio.subprocess.Process
        self._ready: asyncio.Future[float] = asyncio.Future()
        self._forks: dict[int, asyncio.Future[RunnerProcess]] = {}
        self._runners: dict[int, RunnerProcess] = {}
        self._outbox: deque[tuple[bytes, socket.socket | None]] = deque()
        self._number = 0
        self._ending: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, settings: RunnerSettings, scratch_dir: Path) -> ZygoteClient:
        """Start a zygote and wait until it has everything imported.

        Raises ZygoteError if it ends before that; its stderr, which is this process's,
        says why.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        client = cls(ours, uuid.uuid4().hex)
        home = scratch_dir / "zygote"
        home.mkdir(exist_ok=True)
        with theirs:
            client._process = await asyncio.create_subprocess_exec(
                *_command(settings),
                *(str(theirs.fileno()), settings.model_dump_json(), str(scratch_dir)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(settings)(client._marker, home),
                cwd=home,
                # A terminal's Ctrl-C is the worker's to handle.
                start_new_session=True,
            )
        asyncio.get_running_loop().add_reader(ours, client._on_readable)
        try:
            seconds = await client._ready
        except BaseException:
            await client.stop()
            raise
        log.info("zygote is ready", pid=client.pid, seconds=seconds)
        return client

    @property
    def pid(self) -> int:
        """The zygote's."""
        return self._process.pid

    async def fork(self, sock: socket.socket, work_dir: Path) -> RunnerProcess:
        """Fork a runner that speaks on `sock`, which is closed here; raise ZygoteError.

        It is confined to `work_dir`, where runners are.
        """
        if self.lost.is_set():
            sock.close()
            raise ZygoteError("the runners' parent process has ended")
        self._number += 1
        forked = self._forks[self._number] = asyncio.Future()
        self._tell({"fork": self._number, "work_dir": str(work_dir)}, sock)
        return await forked

    def kill(self, process: RunnerProcess) -> None:
        """Have a runner and all its descendants killed; `process.gone` tells when they are."""
        if not process.exited.done():
            self._tell({"kill": process.pid})

    async def stop(self) -> None:
        """End the zygote and every process below it."""
        self._lose()
        await self.died.wait()

    def _tell(self, message: dict[str, Any], sock: socket.socket | None = None) -> None:
        if not self.lost.is_set():
            self._outbox.append((json.dumps(message).encode(), sock))
            self._on_writable()

    def _on_writable(self) -> None:
        """Send what waits, as far as the zygote's end has room."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):  # it is gone: its socket's end says so
            while self._outbox:
                packet, sock = self._outbox[0]
                try:
                    socket.send_fds(self._control, [packet], [sock.fileno()] if sock else [])
                except BlockingIOError:
                    loop.add_writer(self._control, self._on_writable)
                    return
                self._outbox.popleft()
                if sock is not None:
                    sock.close()
        loop.remove_writer(self._control)

    def _on_readable(self) -> None:
        try:
            packet = self._control.recv(_PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if packet:
            self._hear(json.loads(packet))
        else:
            self._lose()

    def _hear(self, message: dict[str, Any]) -> None:
        match message:
            case {"ready": seconds}:
                _settle(self._ready, seconds)
            case {"forked": number, "pid": pid}:
                process = self._runners[pid] = RunnerProcess(pid)
                _settle(self._forks.pop(number), process)
            case {"refused": number, "error": error}:
                forked = self._forks.pop(number)
                if not forked.done():
                    forked.set_exception(ZygoteError(f"no process can be forked: {error}"))
            case {"exited": pid, "status": status}:
                _settle(self._runners[pid].exited, status)
            case {"gone": pid}:
                _settle(self._runners.pop(pid).gone, None)

    def _lose(self) -> None:
        if not self.lost.is_set():
            self.lost.set()
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._control)
            loop.remove_writer(self._control)
            self._control.close()
            for _, sock in self._outbox:
                if sock is not None:
                    sock.close()
            self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        """See to it that nothing of the zygote is left, then tell everybody who waits."""
        if not self._ready.done() or self._ready.cancelled():
            # It is still importing, and has no children; or it ended, and was reaped already.
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            log.warning("the zygote does not end; killing it", pid=self.pid)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await asyncio.to_thread(_kill_marked, self._marker)
        error = ZygoteError(
            f"the runners' parent process ended with status {self._process.returncode}"
        )
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._forks.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        for process in self._runners.values():
            _settle(process.exited, None)
            _settle(process.gone, None)
        self.died.set()


def _command(settings: RunnerSettings) -> list[str]:
    if settings.python is None or settings.overlay is None:
        return [sys.executable, "-P", "-m", _MODULE]
    return python_command(settings.python, settings.overlay, _MODULE)


def _environment(settings: RunnerSettings) -> Callable[[str, Path], dict[str, str]]:
    return zygote_environment if settings.python is None else project_environment


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _kill_marked(marker: str) -> None:
    """Kill every process that inherited a zygote's marker; one that died of kill -9 leaves some."""
    while True:
        found = [process for process in psutil.process_iter() if _is_marked(process, marker)]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if not found:
            return
        psutil.wait_procs(found, timeout=0.02)


def _is_marked(process: psutil.Process, marker: str) -> bool:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.environ().get(MARKER) == marker
    except psutil.Error:
        return False
