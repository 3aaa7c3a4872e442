"""What the kernel lets a runner touch, by Landlock: for good, and for all that it starts.

A runner writes to its own directory. It reads what it is made of (interpreter, packages, the
system's libraries and settings) and what its settings name. It signals nobody outside, and can't
look into other processes, so neither the worker's environment nor its memory. Where TCP ports are
named it connects to those alone. Only what the kernel has is asked of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from landlockpy import AccessFS, AccessNet, Ruleset, Scope, abi_version, fs_for_abi
from landlockpy.flags import LATEST_ABI

from crewmesh_worker.runner import linux
from crewmesh_worker.runner.settings import RunnerSettings

_READ: Final = AccessFS.READ_FILE | AccessFS.READ_DIR | AccessFS.EXECUTE
_DEVICES: Final = AccessFS.MAKE_CHAR | AccessFS.MAKE_BLOCK
_WRITE: Final = fs_for_abi(LATEST_ABI) & ~_DEVICES & ~AccessFS.IOCTL_DEV
# Semaphores of multiprocessing are files there. No right to list: what other runs have there
# bears names that nobody can guess.
_SHARED: Final = (
    AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE | AccessFS.MAKE_REG
    | AccessFS.REMOVE_FILE | AccessFS.REFER
)  # fmt: skip

_SYSTEM: Final = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/proc",
    "/sys",
)
_DEVICE_FILES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - a rule's, nothing is made there
_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_LISTS: Final = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")

# Asked once, before runners are forked: the first question starts a program that finds libc.
_ABI: Final = abi_version()
_NETWORK_ABI: Final = 4
_SCOPES_ABI: Final = 6


def available() -> list[str]:
    """Return what this kernel can hold runners to, in words; nothing where it has no Landlock."""
    held = ["files"] if _ABI else []
    held += ["ports"] if _ABI >= _NETWORK_ABI else []
    return held + (["signals"] if _ABI >= _SCOPES_ABI else [])


def confine(settings: RunnerSettings, work_dir: Path) -> None:
    """Confine this thread, and all that it starts from now on; raise OSError where that fails."""
    if not settings.confined or not _ABI:
        return
    network = AccessNet.NONE if settings.ports is None else AccessNet.CONNECT_TCP
    scopes = Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL
    with Ruleset(handled_net=network, scoped=scopes) as rules:
        for path in {*_SYSTEM, *_own_places(), *map(str, settings.readable)}:
            _allow(rules, path, _READ)
        for path in map(str, settings.openable):
            _allow(rules, path, AccessFS.READ_FILE)
        for path in _DEVICE_FILES:
            _allow(rules, path, AccessFS.READ_FILE | AccessFS.WRITE_FILE)
        _allow(rules, _SHARED_MEMORY, _SHARED)
        for path in map(str, (work_dir, *settings.writable)):
            _allow(rules, path, _WRITE)
        for port in settings.ports or ():
            rules.allow_port(port, AccessNet.CONNECT_TCP)
        rules.restrict()
    # With these root reads other processes' environment and memory, Landlock or not.
    linux.drop_capabilities(linux.CAP_SYS_ADMIN, linux.CAP_SYS_PTRACE, linux.CAP_PERFMON)


def _allow(rules: Ruleset, path: str, access: AccessFS) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        # A file knows no rights of directories.
        of_file = AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.EXECUTE | AccessFS.TRUNCATE
        rules.allow_path(path, access if Path(path).is_dir() else access & of_file)


def _own_places() -> Iterator[str]:
    """Yield where this interpreter and what it imports are."""
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.realpath(sys.executable))
    yield from filter(None, sys.path)
    yield from _our_packages()
    for name in _VARIABLES:
        yield from filter(None, [os.environ.get(name)])
    for name in _LISTS:
        yield from filter(None, os.environ.get(name, "").split(os.pathsep))


def _our_packages() -> Iterator[str]:
    """Yield where our own packages are, which a project's environment has links to."""
    for name in ("crewmesh.v1", "crewmesh.common", "crewmesh_worker", "landlockpy"):
        module = sys.modules.get(name)
        for place in getattr(module, "__path__", ()):
            yield os.path.realpath(place)
