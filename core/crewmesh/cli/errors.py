"""What a command tells when it can't do what was asked, and its exit status."""

from __future__ import annotations

import enum
from collections.abc import Sequence


class ExitStatus(enum.IntEnum):
    """The command line's exit statuses; scripts rely on them."""

    OK = 0
    FAILED = 1  # the run failed, or the command could not do its work
    USAGE = 2  # wrong options or inputs
    CANCELLED = 3
    TIMED_OUT = 4
    INTERRUPTED = 130  # stopped watching by Ctrl-C; the run was not waited for


class CliError(Exception):
    """An expected failure: what happened, why, and what to do next."""

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        next_step: str = "",
        details: Sequence[str] = (),
        exit_status: ExitStatus = ExitStatus.FAILED,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step
        self.details = tuple(details)
        self.exit_status = exit_status


class UsageError(CliError):
    """The command was called in a wrong way; nothing was done."""

    def __init__(
        self, what: str, *, why: str = "", next_step: str = "", details: Sequence[str] = ()
    ) -> None:
        super().__init__(
            what, why=why, next_step=next_step, details=details, exit_status=ExitStatus.USAGE
        )


class UnreachableError(CliError):
    """No mesh answers at the address, or it stopped answering."""


class ApiError(CliError):
    """The mesh answered with a problem (RFC 9457).

    `http_status` and `code` are for programs; `retry_after` is in seconds; `faults` are the
    problem's `errors`, each a place and a message.
    """

    def __init__(
        self,
        what: str,
        *,
        http_status: int,
        code: str,
        retry_after: float | None = None,
        faults: Sequence[tuple[tuple[str | int, ...], str]] = (),
        why: str = "",
        next_step: str = "",
        details: Sequence[str] = (),
    ) -> None:
        bad_input = http_status in (400, 413, 422)
        super().__init__(
            what,
            why=why,
            next_step=next_step,
            details=details,
            exit_status=ExitStatus.USAGE if bad_input else ExitStatus.FAILED,
        )
        self.http_status = http_status
        self.code = code
        self.retry_after = retry_after
        self.faults = tuple(faults)
