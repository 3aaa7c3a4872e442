"""What Linux offers to keep a tree of processes together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CAPABILITY_VERSION_3 = 0x20080522
_AUTOGROUP = Path("/proc/self/autogroup")
# The kernel lets unprivileged processes do it ten times a second, all of them together.
_AUTOGROUP_TRIES = 10
_AUTOGROUP_RETRY_SECONDS = 0.11

CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21
CAP_PERFMON = 38

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, signal_number: signal.Signals) -> None:
    """Have this process sent a signal when its parent ends; end now if it has already."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def lower_session(niceness: int) -> None:
    """Have this process's session go behind others when all want the processors.

    Where the kernel groups processes by session (sched(7), "The autogroup feature"), a process's
    own niceness counts among those of its session only. Elsewhere this does nothing.
    """
    with contextlib.suppress(OSError):
        for _ in range(_AUTOGROUP_TRIES):
            try:
                _AUTOGROUP.write_text(str(niceness))
                break
            except BlockingIOError:
                time.sleep(_AUTOGROUP_RETRY_SECONDS)


def drop_capabilities(*dropped: int) -> None:
    """Have this thread, and all that it starts, no longer able to do this, should it be root's."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable: the lower 32 of each, then the upper.
    sets = (ctypes.c_uint32 * 6)()
    if _libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    for capability in dropped:
        half, bit = divmod(capability, 32)
        for index in range(3 * half, 3 * half + 3):
            sets[index] &= ~(1 << bit) & 0xFFFFFFFF
    if _libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def child_pids() -> set[int]:
    """Return this single-threaded process's children, zombies included."""
    pid = os.getpid()
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def end_children() -> None:
    """Kill and reap every child; a subreaper's are the descendants that others left, too."""
    while True:
        for pid in child_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def resident_bytes(pid: int) -> int:
    """Return the memory of a process that no file backs; 0 if it is gone."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def is_tmpfs(path: Path) -> bool:
    """Tell whether a tmpfs is mounted there."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    return any(line.split()[1:3] == [str(path), "tmpfs"] for line in mounts)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
