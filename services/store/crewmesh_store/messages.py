"""What every part of the store needs to turn rows into messages and back."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.common.errors import InvalidInputError, NotFoundError, Violation
from crewmesh.v1 import budget_pb2
from crewmesh_store.database import Row

_MAX_BATCH = 1000


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Return a database time as a message."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def duration(length: timedelta | None) -> Duration | None:
    """Return a length of time as a message."""
    if length is None:
        return None
    message = Duration()
    message.FromTimedelta(length)
    return message


def moment(message: Message, field: str) -> datetime | None:
    """Return the time in a message's field, if it is set."""
    if not message.HasField(field):
        return None
    found: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    return found


def limit_from_row(row: Row) -> budget_pb2.BudgetLimit | None:
    """Return the limit that a row's `max_tokens` and `max_micros` say, if there is one."""
    if row["max_tokens"] is None and row["max_micros"] is None:
        return None
    return budget_pb2.BudgetLimit(max_tokens=row["max_tokens"], max_micros=row["max_micros"])


def parse_id(text: str, what: str) -> UUID:
    """Return `text` as a UUID; what isn't one names no `what`: NotFoundError."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFoundError(f"there is no {what} {text[:64]!r}") from None


def batch_of_ids(texts: Sequence[str], field: str) -> list[UUID]:
    """Return the ids of a batch, without what is none; raise InvalidInputError for too many."""
    check_batch(texts, field)
    ids = []
    for text in texts:
        with contextlib.suppress(ValueError):
            ids.append(UUID(text))
    return ids


def check_batch(items: Sequence[object], field: str, most: int = _MAX_BATCH) -> None:
    """Raise InvalidInputError for more items than a call may ask for."""
    if len(items) > most:
        raise InvalidInputError(
            f"a call asks for {most} at most", violations=[Violation(field, f"at most {most}")]
        )


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
