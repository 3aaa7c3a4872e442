"""How the API describes itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from crewmesh_gateway.problems import MEDIA_TYPE
from crewmesh_gateway.schemas import Problem

DESCRIPTION = """\
Run CrewAI crews as a service you own.

Start a run with `POST /v1/runs`, follow it with `GET /v1/runs/{run_id}/events` (server-sent
events; a broken stream goes on after the last number you saw), and read its answer from
`GET /v1/runs/{run_id}`.

Times are RFC 3339 in UTC, ids are UUIDv7, lists come in pages, and errors are
`application/problem+json` with a stable `code`. Every answer carries `X-Request-ID`, and
`RateLimit` with what is left where requests are limited.
"""

TAGS = [
    {"name": "runs", "description": "One execution of a crew each: start, follow, steer, read."},
    {"name": "sessions", "description": "Conversations: each message starts a run."},
    {"name": "crews", "description": "What can be run: crews, their versions, and tools."},
    {"name": "datasets", "description": "Data that runs work on."},
    {"name": "workers", "description": "The fleet: who works, and what waits."},
    {"name": "artifacts", "description": "Files that runs made."},
    {"name": "limits", "description": "How much of the mesh your organisation may use at once."},
    {"name": "budgets", "description": "What runs may spend, and what they did."},
    {"name": "policy", "description": "What your organisation's runs may use."},
    {"name": "secrets", "description": "Keys that runs find in their environment."},
    {"name": "sign-in", "description": "Tokens for people; programs have API keys."},
    {"name": "account", "description": "Who you are, and your API keys."},
    {"name": "users", "description": "Who belongs to your organisation, and what they may do."},
    {"name": "audit", "description": "Who changed what in your organisation."},
    {"name": "service", "description": "The gateway itself; needs no key."},
]

_FASTAPI_ERROR = "#/components/schemas/HTTPValidationError"

_MEANINGS = {
    400: "Malformed",
    404: "There is no such thing, or it isn't yours",
    408: "The body did not arrive in time",
    409: "It conflicts with what is there",
    413: "Too large",
    415: "Not a media type that is taken here",
    422: "Faults in the input, each in `errors`",
}
_ALWAYS = {
    401: "No valid API key or access token",
    403: "Your role does not allow it",
    429: "Too many; see `Retry-After` and `RateLimit`",
    500: "Unexpected; tell us the `request_id`",
    503: "A part of the mesh is down; see `Retry-After`",
    504: "The mesh did not answer in time",
}


# What any call with a body may get.
BODY_FAULTS = (400, 408, 413, 415, 422)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI responses for these statuses and those that any call may get."""
    meanings = {status: _MEANINGS[status] for status in statuses} | _ALWAYS
    return {
        status: {"description": meaning, "model": Problem} for status, meaning in meanings.items()
    }


def open_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the same for a call that needs no credential, and knows no role."""
    return {status: text for status, text in problems(*statuses).items() if status != 403}


def describe(app: FastAPI) -> None:
    """Give problems their media type, and drop the error that FastAPI itself would answer with."""
    schema = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            for status, response in list(responses.items()):
                content = response.get("content", {})
                if status < "400" or "application/json" not in content:
                    continue
                if content["application/json"]["schema"].get("$ref") == _FASTAPI_ERROR:
                    del responses[status]
                else:
                    content[MEDIA_TYPE] = content.pop("application/json")
    for unused in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(unused, None)
