"""What every part of the store needs to turn rows into messages and back."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.common.errors import InvalidInputError, NotFoundError, Violation


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Return a database time as a message."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def parse_id(text: str, what: str) -> UUID:
    """Return `text` as a UUID; what isn't one names no `what`: NotFoundError."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFoundError(f"there is no {what} {text[:64]!r}") from None


def page_bounds(
    size: int, token: str, *, default: int = 50, limit: int = 200
) -> tuple[int, UUID | None]:
    """Return how many rows a page holds and the id below which it begins.

    Raises InvalidInputError for a size out of bounds or a token that isn't ours.
    """
    if not 0 <= size <= limit:
        raise InvalidInputError(
            f"a page holds 1 to {limit} items", violations=[Violation("page_size", f"1 to {limit}")]
        )
    try:
        return size or default, UUID(token) if token else None
    except ValueError:
        raise bad_cursor() from None


def bad_cursor() -> InvalidInputError:
    """Return the error for a page's token that isn't ours."""
    return InvalidInputError(
        "the cursor isn't one that a page ended with",
        violations=[Violation("page_token", "take next_cursor of the page before")],
    )
