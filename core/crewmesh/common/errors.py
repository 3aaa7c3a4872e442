"""The mesh's errors: one small hierarchy, mapped to gRPC in one place.

A service raises one of these; the server's interceptor turns it into a status
with `google.rpc.ErrorInfo` (and `BadRequest`, `RetryInfo` where they apply), and
`error_from_rpc` turns such a status back into the same class at the caller. Importing
this doesn't import gRPC: runner processes, which are forked, raise errors too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

if TYPE_CHECKING:
    import grpc

ERROR_DOMAIN = "crewmesh"


@dataclass(frozen=True)
class Violation:
    """One fault in the caller's input: where it is and what is wrong with it."""

    field: str
    message: str


class CrewmeshError(Exception):
    """A failure that the caller is told about.

    `reason` is stable and machine-readable, in UPPER_SNAKE_CASE; the message is for
    people and says what to do next where that isn't obvious.
    """

    # Name of the gRPC status.
    status: ClassVar[str] = "INTERNAL"
    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        violations: Iterable[Violation] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status."""
        import grpc

        return grpc.StatusCode[self.status]


class InvalidInputError(CrewmeshError):
    """The request is wrong, whatever the state of the mesh."""

    status = "INVALID_ARGUMENT"
    default_reason = "INVALID_INPUT"


class NotFoundError(CrewmeshError):
    """No such thing, or it is another organisation's."""

    status = "NOT_FOUND"
    default_reason = "NOT_FOUND"


class ConflictError(CrewmeshError):
    """It exists already, in another form."""

    status = "ALREADY_EXISTS"
    default_reason = "CONFLICT"


class StateError(CrewmeshError):
    """The thing is not in a state in which this can be done."""

    status = "FAILED_PRECONDITION"
    default_reason = "WRONG_STATE"


class UnauthenticatedError(CrewmeshError):
    """No valid credentials."""

    status = "UNAUTHENTICATED"
    default_reason = "INVALID_CREDENTIALS"


class ForbiddenError(CrewmeshError):
    """Valid credentials, but not for this."""

    status = "PERMISSION_DENIED"
    default_reason = "FORBIDDEN"


class ExhaustedError(CrewmeshError):
    """A limit or a quota; see `retry_after_seconds`."""

    status = "RESOURCE_EXHAUSTED"
    default_reason = "EXHAUSTED"


class UnavailableError(CrewmeshError):
    """A dependency is down or starting; the same call may succeed later."""

    status = "UNAVAILABLE"
    default_reason = "UNAVAILABLE"


class DeadlineError(CrewmeshError):
    """The call's deadline passed before its answer."""

    status = "DEADLINE_EXCEEDED"
    default_reason = "DEADLINE_EXCEEDED"


_CLASS_BY_STATUS: dict[str, type[CrewmeshError]] = {
    cls.status: cls
    for cls in (
        InvalidInputError,
        NotFoundError,
        ConflictError,
        StateError,
        UnauthenticatedError,
        ForbiddenError,
        ExhaustedError,
        UnavailableError,
        DeadlineError,
    )
}


# What gRPC says itself of a call whose connection broke or whose server ended meanwhile. Errors
# of ours have details.
_BROKEN_OFF = frozenset({"CANCELLED", "UNKNOWN", "INTERNAL"})


def status_from_error(error: CrewmeshError, max_violations_bytes: int) -> status_pb2.Status:
    """Return the error as a `google.rpc.Status` with its details packed.

    Faults that would make it too long for its reader are only counted, in the last one.
    """
    packed = [_pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN))]
    if error.violations:
        packed.append(_pack(_bad_request(error.violations, max_violations_bytes)))
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromMicroseconds(int(error.retry_after_seconds * 1_000_000))
        packed.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.status), message=error.message, details=packed
    )


def _bad_request(violations: Sequence[Violation], max_bytes: int) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    for told, violation in enumerate(violations):
        fault = bad_request.field_violations.add(
            field=violation.field, description=violation.message
        )
        if bad_request.ByteSize() > max_bytes and told > 0:
            fault.field = "(the whole)"
            fault.description = f"{len(violations) - told} more; correct these first"
            break
    return bad_request


def error_from_rpc(rpc_error: grpc.aio.AioRpcError) -> CrewmeshError:
    """Return what the other side raised, or the nearest class for a bare status."""
    from grpc_status import rpc_status

    message = rpc_error.details() or rpc_error.code().name
    reason: str | None = None
    violations: list[Violation] = []
    retry_after: float | None = None
    status = rpc_status.from_call(rpc_error)  # type: ignore[arg-type]  # an aio error has the same methods
    cls = _CLASS_BY_STATUS.get(rpc_error.code().name, CrewmeshError)
    if status is None and rpc_error.code().name in _BROKEN_OFF:
        cls, message = UnavailableError, f"the call was broken off: {message}"
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry_info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad_request):
            violations = [Violation(v.field, v.description) for v in bad_request.field_violations]
        elif detail.Unpack(retry_info):
            retry_after = retry_info.retry_delay.ToTimedelta().total_seconds()
    return cls(message, reason=reason, violations=violations, retry_after_seconds=retry_after)


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
