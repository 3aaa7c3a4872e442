"""A small disk for Postgres, which can be filled up."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from pathlib import Path

_BYTES = 1536 * 1024 * 1024
_CLONE_NEWNS = 0x00020000


class Disk:
    """A file system of limited size at `path`, if this process may mount one.

    It is mounted in a mount namespace of this process's own, so it is gone when this
    process and its children are. `why_not` says why there is none, or is empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.why_not = ""
        self._ballast = path / "ballast"
        path.mkdir(mode=0o755)
        try:
            self._mount()
        except (OSError, subprocess.CalledProcessError) as error:
            self.why_not = f"no file system can be mounted here ({error})"

    def _mount(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNS) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_BYTES},mode=755", "none", str(self.path)]
        for command in (["mount", "--make-rprivate", "/"], mount):
            subprocess.run(command, check=True, capture_output=True)

    def fill(self) -> None:
        """Take all the room that is left; again, what was freed meanwhile."""
        file = os.open(self._ballast, os.O_WRONLY | os.O_CREAT)
        try:
            while room := os.fstatvfs(file).f_bavail * os.fstatvfs(file).f_frsize:
                os.posix_fallocate(file, os.fstat(file).st_size, room)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(file)

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it, and of what is on it."""
        if not self.why_not:
            subprocess.run(["umount", str(self.path)], check=True, capture_output=True)
