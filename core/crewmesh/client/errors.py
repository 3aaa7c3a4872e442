"""What can go wrong with a mesh, each as an exception of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Place = tuple[str | int, ...]


class MeshError(Exception):
    """An expected failure: `what` happened, `why`, and the `next_step`; `details` has each fault."""

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        next_step: str = "",
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step
        self.details = tuple(details)


class UnreachableError(MeshError):
    """No mesh answers at the address, or it stopped answering."""


class StreamLostError(UnreachableError):
    """A run's stream broke and could not be taken up again; the run goes on.

    `last_seq` is the number of the last event that was given: go on with `after=last_seq`.
    """

    def __init__(self, what: str, *, last_seq: int, why: str = "", next_step: str = "") -> None:
        super().__init__(what, why=why, next_step=next_step)
        self.last_seq = last_seq


class UnknownAnswerError(MeshError):
    """The mesh answered with something that this client doesn't know."""


class ApiError(MeshError):
    """The mesh answered with a problem (RFC 9457).

    `http_status` and `code` are for programs, `request_id` is in the mesh's logs, `retry_after`
    is in seconds, `faults` are the problem's `errors`, each a place and a message.
    """

    def __init__(
        self,
        what: str,
        *,
        http_status: int,
        code: str,
        request_id: str = "",
        retry_after: float | None = None,
        faults: Sequence[tuple[Place, str]] = (),
        why: str = "",
        next_step: str = "",
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(what, why=why, next_step=next_step, details=details)
        self.http_status = http_status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.faults = tuple(faults)


class InvalidInputError(ApiError):
    """400, 413, 415 or 422: the request itself is wrong."""


class AuthenticationError(ApiError):
    """401: no credential, or one that isn't valid."""


class PermissionDeniedError(ApiError):
    """403: the credential doesn't permit this."""


class NotFoundError(ApiError):
    """404: there is no such thing, or it is another organisation's."""


class ConflictError(ApiError):
    """409: it contradicts how things stand."""


class TooManyRequestsError(ApiError):
    """429: a limit is reached; `retry_after` says when to try again."""


class ServerError(ApiError):
    """500 and above: the mesh failed."""


class UnavailableError(ServerError):
    """502, 503 or 504: a part of the mesh is down or restarting."""


_TYPES: dict[int, type[ApiError]] = {
    **dict.fromkeys((400, 413, 415, 422), InvalidInputError),
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: TooManyRequestsError,
    **dict.fromkeys((502, 503, 504), UnavailableError),
}

_NEXT_STEPS = {
    400: "correct what is named and send it again",
    401: "check CREWMESH_API_KEY, or log in again with `crewmesh login`",
    403: "ask an owner of your organisation for a key that may do this",
    404: "check the name or id, and that the key is of the right organisation",
    409: "look at how it stands now, then decide whether to try again",
    413: "send less at a time",
    422: "correct what is named and send it again",
    429: "wait a little and try again",
    500: "look into the mesh's logs for this request",
    503: "try again shortly; `crewmesh doctor` shows which part is down",
}
_NEXT_STEPS_BY_CODE = {
    "crew_not_yours": "give it another name: `crewmesh crews push --name NAME`",
    "crew_version_not_found": "`crewmesh crews versions CREW` lists the versions there are",
    "policy_denied": "`crewmesh policy show` tells what is allowed; an owner or admin changes it",
}


def api_error(
    status: int, problem: Any, *, reason: str = "", retry_after: float | None = None
) -> ApiError:
    """Return the exception for an answer of this status; `problem` is its JSON, if it has any."""
    if not isinstance(problem, dict):
        problem = {}
    faults = problem.get("errors") or []
    code, request_id = problem.get("code") or "", problem.get("request_id") or ""
    error_type = _TYPES.get(status, ServerError if status >= 500 else ApiError)
    return error_type(
        problem.get("detail") or problem.get("title") or f"the mesh answered {status}",
        http_status=status,
        code=code,
        request_id=request_id,
        retry_after=retry_after,
        details=[f"{_place(fault.get('loc'))}: {fault.get('msg', '')}" for fault in faults],
        faults=[
            (tuple(fault["loc"]), str(fault.get("msg", "")))
            for fault in faults
            if isinstance(fault.get("loc"), list)
        ],
        why=f"{status} {code or reason}" + (f", request {request_id}" if request_id else ""),
        next_step=_NEXT_STEPS_BY_CODE.get(code, _NEXT_STEPS.get(status, "")),
    )


def _place(loc: Any) -> str:
    # With YAML, which most callers never need.
    from crewmesh.common.documents.places import show_place

    return show_place(tuple(loc)) if isinstance(loc, list) else str(loc or "request")
