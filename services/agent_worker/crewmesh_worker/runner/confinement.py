"""Landlock: what a run's code may not do, though it runs as the worker's user.

Each runner enters a domain of its own. From there it can't look into the memory, the environment or
the descriptors of any process outside of it (the worker, other runs), nor signal one, nor read the
files of the worker's secrets. See landlock(7); kernels without it let runs start all the same, and
the worker says so when it starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from crewmesh_worker.runner import linux

# Whatever a secret is given by: a file's name in the worker's environment.
_SECRET_FILE: Final = re.compile(r"\w*(SECRET|KEY|URL|PASSWORD|TOKEN|CREDENTIALS)\w*_FILE")

# Where platforms mount secrets, and where no run's file ever comes to be: beside a hidden file, what
# comes later can't be read either.
_MOUNTED_AT: Final = (Path("/run"), Path("/var/run"), Path("/etc"))

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_READ_FILE: Final = 1 << 2
# Denied by every domain that doesn't allow it, so it has to be allowed.
_REFER: Final = 1 << 13
_SCOPES: Final = 0b11  # abstract sockets and signals
# Domains know these from their versions on.
_REFER_SINCE, _SCOPES_SINCE = 2, 6
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITIES_VERSION: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """Return the version of Landlock that this kernel has; 0 for none."""
    version: int = _libc.syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    return max(0, version)


def secret_files(environment: Mapping[str, str]) -> list[Path]:
    """Return the files that hold what a service was given as its secrets, where those are mounted.

    An embedded mesh keeps its own beside its data, and is one user's, who trusts their crews.
    """
    named = {
        Path(value).absolute()
        for name, value in environment.items()
        if value and _SECRET_FILE.fullmatch(name)
    }
    return sorted(
        path for path in named if any(path.is_relative_to(mount) for mount in _MOUNTED_AT)
    )


def make_ruleset(hidden: Sequence[Path]) -> int | None:
    """Return the descriptor of a domain's rules, for `enter`; None where there is no Landlock.

    What lies directly in a directory above a hidden file can be read if it is there by now.
    """
    version = landlock_version()
    if version < _REFER_SINCE:
        return None
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    attributes = struct.pack("=QQQ", _READ_FILE | _REFER, 0, scopes)
    size = len(attributes) if version >= _SCOPES_SINCE else 8
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, attributes, size, 0))
    _allow(ruleset, Path("/"), _REFER)
    for path in _all_but({path.resolve() for path in hidden}):
        _allow(ruleset, path, _READ_FILE)
    return ruleset


def enter(ruleset: int) -> None:
    """Confine this process, and all that it starts, for good."""
    linux.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    # A root's would let it look into other processes in spite of that.
    _checked(_libc.capset(struct.pack("=Ii", _CAPABILITIES_VERSION, 0), bytes(24)))


def _all_but(hidden: set[Path]) -> Iterator[Path]:
    """Yield the fewest paths that everything but the hidden files is at or below."""
    above = {parent for path in hidden for parent in path.parents}
    if not above:
        yield Path("/")
    for directory in above:
        with contextlib.suppress(OSError):
            for path in directory.iterdir():
                if path not in above and path not in hidden and not path.is_symlink():
                    yield path


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # gone meanwhile
    try:
        rule = struct.pack("=Qi", access, descriptor)
        with contextlib.suppress(OSError):  # a socket, say: there is nothing to read in it
            _checked(_libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
