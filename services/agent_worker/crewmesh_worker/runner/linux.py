"""What Linux offers to keep a tree of processes together."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, signal_number: signal.Signals) -> None:
    """Have this process sent a signal when its parent ends; end now if it has already."""
    prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def child_pids() -> set[int]:
    """Return this single-threaded process's children, zombies included."""
    pid = os.getpid()
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


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


def prctl(option: int, value: int) -> None:
    """Change something of this process, as the manual page says."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
