"""The zygote: the process that has everything imported and forks each runner.

`python -m crewmesh_worker.runner.zygote FD SETTINGS SCRATCH_DIR`, where FD is its end of a
SOCK_SEQPACKET pair with the worker. One JSON object a packet.

    worker → zygote   {"fork": n, "work_dir": path} with the runner's socket · {"kill": pid}
    zygote → worker   {"ready": seconds} · {"forked": n, "pid": pid} · {"refused": n, "error": text}
                      {"exited": pid, "status": wait status}, and once nothing is left of its
                      descendants either: {"gone": pid}

It is the parent of every runner and, as a subreaper, of whatever a dead runner leaves
behind, so it alone kills and reaps: no pid can be another process's by then. It ends, and
takes all of them along, when its worker does.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from crewmesh_worker.runner import linux
from crewmesh_worker.runner.settings import RunnerSettings

_PACKET_BYTES = 4096
_RETRY_SECONDS = 0.005
# All runners together: about a tenth of what a service gets that is as busy.
_SESSION_NICENESS = 10


class Zygote:
    """Forks, kills and reaps runners as the worker says."""

    def __init__(self, control: socket.socket, kill_grace_seconds: float) -> None:
        self._control = control
        self._grace = kill_grace_seconds
        self._runners: set[int] = set()
        # Runners that are to end, with the time.monotonic() of their SIGKILL.
        self._condemned: dict[int, float] = {}
        # Runners that have ended, while something of theirs may be left.
        self._departed: set[int] = set()
        # What they left behind, and when it gets SIGKILL.
        self._orphans: set[int] = set()
        self._orphans_deadline = math.inf
        self._stopping = False
        self._wakeup, wakeup_writer = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup_writer.setblocking(False)
        self._wakeup_writer = wakeup_writer
        signal.signal(signal.SIGCHLD, _interrupt)
        signal.signal(signal.SIGTERM, self._stop)
        signal.set_wakeup_fd(wakeup_writer.fileno(), warn_on_full_buffer=False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def serve(self, preload_seconds: float) -> tuple[socket.socket, Path] | None:
        """Serve until the worker is gone, then return None.

        In each child, return its socket and its directory.
        """
        self._tell({"ready": preload_seconds})
        while not self._stopping:
            ready = {key.fileobj for key, _ in self._selector.select(self._timeout())}
            if self._wakeup in ready:
                self._wakeup.recv(_PACKET_BYTES)
            self._reap()
            self._kill_overdue()
            if self._control in ready:
                forked = self._answer()
                if forked is not None:
                    return forked
        self._end_all()
        return None

    def _answer(self) -> tuple[socket.socket, Path] | None:
        """Do what one packet asks; in a forked child, return its socket and its directory."""
        try:
            packet, fds, _, _ = socket.recv_fds(self._control, _PACKET_BYTES, 1)
        except ConnectionError:
            packet = b""
        if not packet:
            self._stopping = True
            return None
        request = json.loads(packet)
        if "kill" in request:
            self._condemn(request["kill"])
            return None
        runner_socket = self._fork(request["fork"], socket.socket(fileno=fds[0]))
        return None if runner_socket is None else (runner_socket, Path(request["work_dir"]))

    def _fork(self, number: int, runner_socket: socket.socket) -> socket.socket | None:
        try:
            pid = os.fork()
        except OSError as error:
            runner_socket.close()
            self._tell({"refused": number, "error": str(error)})
            return None
        if pid == 0:
            self._forget()
            return runner_socket
        runner_socket.close()
        self._runners.add(pid)
        self._tell({"forked": number, "pid": pid})
        return None

    def _forget(self) -> None:
        """In a child: drop what is the zygote's."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for sock in (self._control, self._wakeup, self._wakeup_writer):
            sock.close()

    def _condemn(self, pid: int) -> None:
        if pid in self._runners:
            self._condemned[pid] = time.monotonic() + self._grace
            _signal_group(pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Collect whatever has ended, and find what dead runners left behind."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid in self._runners:
                    self._bury(pid, status)
        if self._departed:
            self._round_up()

    def _bury(self, pid: int, status: int) -> None:
        self._runners.discard(pid)
        self._departed.add(pid)
        deadline = self._condemned.pop(pid, time.monotonic() + self._grace)
        self._orphans_deadline = min(self._orphans_deadline, deadline)
        self._tell({"exited": pid, "status": status})

    def _round_up(self) -> None:
        """End what dead runners left behind; each of those may leave children of its own."""
        found = linux.child_pids() - self._runners
        for pid in found - self._orphans:
            _signal_group(pid, signal.SIGTERM)
        self._orphans = found
        if not found:
            for pid in self._departed:
                self._tell({"gone": pid})
            self._departed.clear()
            self._orphans_deadline = math.inf

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        overdue = [pid for pid, deadline in self._condemned.items() if deadline <= now]
        if self._orphans_deadline <= now:
            overdue += self._orphans
        for pid in overdue:
            _signal_group(pid, signal.SIGKILL)

    def _timeout(self) -> float | None:
        """Seconds until somebody is overdue, or is to be killed once more; None if nobody is."""
        deadlines = list(self._condemned.values())
        if self._orphans:
            deadlines.append(self._orphans_deadline)
        if not deadlines:
            return None
        return max(min(deadlines) - time.monotonic(), _RETRY_SECONDS)

    def _end_all(self) -> None:
        """Kill and reap every process that is left."""
        signal.set_wakeup_fd(-1)
        linux.end_children()

    def _stop(self, *_: Any) -> None:
        self._stopping = True

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the worker is gone: the next select says so
            self._control.send(json.dumps(message).encode())


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a child and its process group, which is never this process's own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        group = os.getpgid(pid)
        os.kill(pid, number)
        if group != os.getpgrp():
            os.killpg(group, number)


def _interrupt(*_: Any) -> None:
    """Handle SIGCHLD, so that the wake-up socket is written to."""


def main() -> None:
    """Preload, serve, and clean up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = RunnerSettings.model_validate_json(sys.argv[2])
    scratch_dir = Path(sys.argv[3])
    started = time.monotonic()
    linux.adopt_orphans()
    linux.die_with_parent(os.getppid(), signal.SIGTERM)

    # Imported once the settings are known to be good: this takes seconds.
    from crewmesh_worker.runner.preload import preload

    factories = preload(settings)
    from crewmesh_worker.runner.child import serve

    linux.lower_session(_SESSION_NICENESS)
    pid = os.getpid()
    zygote = Zygote(control, settings.kill_grace_seconds)
    forked = zygote.serve(round(time.monotonic() - started, 3))
    if forked is None:
        shutil.rmtree(scratch_dir, ignore_errors=True)
        os._exit(0)  # what is loaded has nothing to say at its end, and some of it would
    serve(*forked, pid, factories, settings)


if __name__ == "__main__":
    main()
