"""Errors as GraphQL tells them: with the codes that REST has, in `extensions`."""

from __future__ import annotations

import structlog
from graphql import GraphQLError
from strawberry.utils.str_converters import to_camel_case

from crewmesh.common.documents.places import WHOLE
from crewmesh.common.errors import CrewmeshError
from crewmesh_gateway.problems import UNEXPECTED, parts_of, told

# What these arguments hold has names of its own.
_FREE = frozenset({"inputs", "definition"})

log = structlog.get_logger(__name__)


def name_error(error: GraphQLError, request_id: str) -> None:
    """Give an error the `extensions` that clients rely on: code, status, errors, request_id.

    Of what nobody foresaw, nothing is told.
    """
    cause = error.original_error
    extensions = dict(error.extensions or {})
    if isinstance(cause, CrewmeshError):
        status, error.message = told(cause)
        extensions |= {"code": cause.reason.lower(), "status": status}
        if cause.violations:
            extensions["errors"] = [
                {"loc": _place(v.field), "msg": v.message} for v in cause.violations
            ]
    elif cause is not None and not isinstance(cause, GraphQLError):
        log.error("unexpected error", exc_info=cause)
        extensions |= {"code": "internal", "status": 500}
        error.message = UNEXPECTED
    extensions.setdefault("code", "invalid_query")
    error.extensions = {**extensions, "request_id": request_id}


def _place(field: str) -> list[str | int]:
    """Return where a fault is, by the schema's names."""
    if field == WHOLE:
        return []
    parts = parts_of(field)
    if parts[0] in _FREE:
        return parts
    return [to_camel_case(part) if isinstance(part, str) else part for part in parts]
