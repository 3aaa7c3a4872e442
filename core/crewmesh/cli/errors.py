"""What a command tells when it can't do what was asked, and its exit status."""

from __future__ import annotations

import enum
from typing import Self

from crewmesh.client.errors import InvalidInputError, MeshError


class ExitStatus(enum.IntEnum):
    """The command line's exit statuses; scripts rely on them."""

    OK = 0
    FAILED = 1  # the run failed, or the command could not do its work
    USAGE = 2  # wrong options or inputs
    CANCELLED = 3
    TIMED_OUT = 4
    INTERRUPTED = 130  # stopped watching by Ctrl-C; the run was not waited for


class CliError(MeshError):
    """An expected failure of the command line's own, with its exit status."""

    exit_status = ExitStatus.FAILED

    def exiting(self, status: ExitStatus) -> Self:
        """Return it with another exit status."""
        self.exit_status = status
        return self


class UsageError(CliError):
    """The command was called in a wrong way; nothing was done."""

    exit_status = ExitStatus.USAGE


def exit_status_of(error: MeshError) -> ExitStatus:
    """Return the exit status that tells of an error: ours, or one of the mesh's client."""
    if isinstance(error, CliError):
        return error.exit_status
    return ExitStatus.USAGE if isinstance(error, InvalidInputError) else ExitStatus.FAILED
