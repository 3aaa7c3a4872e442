"""Every error's answer: RFC 9457 problem details, made in this one place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import grpc
import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from crewmesh.common.documents.places import WHOLE
from crewmesh.common.errors import CrewmeshError
from crewmesh_gateway.params import MEANINGS

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
REQUEST_ID_KEY = "crewmesh.request_id"
# What nginx logs for a client that didn't wait; nobody receives it.
CLIENT_GONE = 499

_MAX_FAULTS = 500
_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")

_STATUS_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}

# These errors' own words are for operators: they may name hosts and causes.
_DETAIL_BY_STATUS = {
    500: "something unexpected went wrong; the service's log has it under this request_id",
    503: "a part of the mesh is down or starting; the same call may succeed in a moment",
    504: "the mesh did not answer in time; look whether the call took effect before repeating it",
}

UNEXPECTED = _DETAIL_BY_STATUS[500]

_CODE_BY_STATUS = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
}

# Where REST's names differ from the mesh's.
_PARAMETER_BY_FIELD = {"page_size": "limit", "page_token": "cursor", "inputs_json": "inputs"}

_DETAIL_BY_HTTP_STATUS = {
    404: "there is nothing at this path; /docs lists what there is",
    405: "this path doesn't take this method; see the header Allow",
}


def problem(
    scope: Scope,
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem as the answer to the request of `scope`.

    `errors` lists faults of the input, each as {loc, msg}.
    """
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": scope[REQUEST_ID_KEY],
    }
    if errors:
        content["errors"] = errors
    return Response(orjson.dumps(content), status, headers=headers, media_type=MEDIA_TYPE)


def problem_of_error(error: CrewmeshError, scope: Scope) -> Response:
    """Return the problem that tells of one of the mesh's errors."""
    status, detail = told(error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds or 1)))
    faults = [{"loc": _location(v.field, scope), "msg": v.message} for v in error.violations]
    return problem(
        scope, status, error.reason.lower(), detail, errors=faults[:_MAX_FAULTS], headers=headers
    )


def told(error: CrewmeshError) -> tuple[int, str]:
    """Return the HTTP status of one of the mesh's errors, and what clients may know of it."""
    status = _STATUS_BY_CODE.get(error.code, 500)
    if status in _DETAIL_BY_STATUS:
        log.warning("the mesh failed a call", reason=error.reason, detail=error.message)
        return status, _DETAIL_BY_STATUS[status]
    return status, error.message


def unexpected(scope: Scope) -> Response:
    """Return the answer for an error that nobody foresaw; it tells nothing of it."""
    return problem(scope, 500, "internal", UNEXPECTED)


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error that a route raises a problem."""
    app.add_exception_handler(CrewmeshError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_unexpected)


def _location(field: str, scope: Scope) -> list[str | int]:
    """Return the place of a field such as `tasks[1].agent`: body, tasks, 1, agent."""
    place = "query" if scope["method"] == "GET" else "body"
    if field == WHOLE:
        return [place]
    return [place, *parts_of(field)]


def parts_of(field: str) -> list[str | int]:
    """Return the parts of a field such as `tasks[1].agent`, by the names that clients know."""
    # What starts a run is a message of its own in the mesh, and the body in REST.
    field = field.removeprefix("spec.")
    parts = _PART.findall(_PARAMETER_BY_FIELD.get(field, field))
    return [int(index) if index else name for index, name in parts]


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CrewmeshError)
    return problem_of_error(error, request.scope)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = list(faults_of(error.errors()))
    detail = (
        "1 fault in the request" if len(faults) == 1 else f"{len(faults)} faults in the request"
    )
    return problem(request.scope, 422, "invalid_input", detail, errors=faults[:_MAX_FAULTS])


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    default = HTTPStatus(status).phrase
    detail = (
        _DETAIL_BY_HTTP_STATUS.get(status, default) if error.detail == default else error.detail
    )
    code = _CODE_BY_STATUS.get(status, "malformed_request")
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = _allowed_methods(request) or headers["Allow"]
    return problem(request.scope, status, code, detail, headers=headers)


def _allowed_methods(request: Request) -> str:
    """Return all methods of the request's path; the router names those of one route only."""
    path = request.scope["route"].path_format
    return ", ".join(method.upper() for method in request.app.openapi()["paths"].get(path, ()))


async def _answer_unexpected(request: Request, _error: Exception) -> Response:
    return unexpected(request.scope)


async def _answer_nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


def faults_of(errors: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Return what pydantic found, as {loc, msg} in our words."""
    for error in errors:
        message = str(error["msg"]).removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            message = "unknown field: leave it out, or see /docs for this call's fields"
        elif error["type"] == "string_pattern_mismatch":
            message = MEANINGS.get(error["ctx"]["pattern"], message)
        yield {"loc": list(error["loc"]), "msg": message}
