"""Parameters that several routes share, with their bounds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator

from crewmesh.common.errors import NotFoundError

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
SESSION_ID = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"
IDEMPOTENCY_KEY = r"^[!-~]{1,255}$"
CURSOR = r"^[!-~]{1,512}$"
SEQ = r"^[0-9]{1,18}$"
CREW_VERSION = r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,99}$"
MODEL = r"^[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,199}$"
VARIABLE = r"^[A-Z][A-Z0-9_]{0,99}$"
CREDENTIAL = r"^[!-~]{1,2048}$"
PRINTABLE_NAME = r"^[^\x00-\x1f\x7f]{1,100}$"
# What a text that doesn't match is told.
MEANINGS = {
    NAME: "it must be 1 to 100 letters, digits and any of _ . - after the first",
    SESSION_ID: "it must be 1 to 128 letters, digits and any of _ . : - after the first",
    IDEMPOTENCY_KEY: "it must be 1 to 255 visible ASCII characters, without spaces",
    CURSOR: "take next_cursor of the page before",
    SEQ: "it must be a whole number",
    CREW_VERSION: "take a version from the crew's versions",
    MODEL: "it must be a model's name, such as offline or openai/gpt-5-mini",
    VARIABLE: "it must be an environment variable's name, such as OPENAI_API_KEY",
    CREDENTIAL: "it must be an API key, without spaces",
    PRINTABLE_NAME: "it must be 1 to 100 printable characters",
}
# Event numbers, well within the mesh's 64 bits.
MAX_SEQ = 10**18 - 1

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EXAMPLE_ID = "0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a10"


def _known_form(value: str) -> str:
    value = value.lower()
    if not _UUID.fullmatch(value):
        # A fault in a path is a thing that isn't there, not bad input.
        raise NotFoundError("there is nothing with this id")
    return value


def _known_name(value: str) -> str:
    if not re.fullmatch(NAME, value):
        raise NotFoundError("there is nothing with this name")
    return value


def _known_secret(value: str) -> str:
    if not re.fullmatch(VARIABLE, value):
        raise NotFoundError("there is no secret of this name; they are named like OPENAI_API_KEY")
    return value


def _printable(value: str) -> str:
    if len(value) > 200 or not value.isprintable():
        raise NotFoundError("there is nothing with this id or name")
    return value


def _user(value: str | None) -> str | None:
    if value is None or value == "me" or _UUID.fullmatch(value):
        return value
    raise ValueError("it must be a user's id, or me")


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("it must be a time with its zone, such as 2026-11-23T06:39:00Z")


Id = Annotated[
    str,
    Path(json_schema_extra={"format": "uuid"}, examples=[_EXAMPLE_ID]),
    AfterValidator(_known_form),
]
Name = Annotated[str, Path(examples=["data-analyst"]), AfterValidator(_known_name)]
SecretName = Annotated[str, Path(examples=["OPENAI_API_KEY"]), AfterValidator(_known_secret)]
IdOrName = Annotated[str, Path(description="Its id or its name."), AfterValidator(_printable)]
Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[
    str | None,
    Query(pattern=CURSOR, description="`next_cursor` of the page before."),
]
CrewFilter = Annotated[str | None, Query(pattern=NAME)]
SessionFilter = Annotated[str | None, Query(pattern=SESSION_ID)]
CreatorFilter = Annotated[
    str | None,
    Query(description="Those that this user has started, by id; `me` is who asks."),
    AfterValidator(_user),
]
Words = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        description="Words that the run's crew, inputs, answer or error begin with, all of "
        "them; or a run's id, or at least 8 characters from its start or its last group's.",
    ),
]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Wait = Annotated[
    float,
    Query(ge=0, le=60, description="Seconds to wait for the run to end before answering."),
]
