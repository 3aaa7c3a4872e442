"""The messages that a run is to triage, from its inputs or its dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from crewmesh_worker.tools.context import RunContext
from crewmesh_worker.tools.database import quote
from crewmesh_worker.tools.registry import ToolError

MAX_MESSAGES = 100
_LONGEST_BODY = 8_000
# What the fields of a message are called.
_KEYS = {
    "id": ("id", "message_id", "ticket", "ticket_id", "number", "key"),
    "sender": ("from", "sender", "email", "from_email", "customer", "author"),
    "subject": ("subject", "title", "summary"),
    "body": ("body", "text", "message", "content", "description"),
    "received_at": ("received_at", "date", "created_at", "timestamp", "time", "received"),
}


@dataclass(frozen=True)
class Message:
    """One ticket or e-mail; empty where it doesn't say."""

    id: str
    sender: str
    subject: str
    body: str
    received_at: str

    def as_dict(self) -> dict[str, str]:
        """Return it as the model is shown it."""
        return asdict(self)


def read_messages(context: RunContext) -> list[Message]:
    """Return the run's messages.

    Raises ToolError when there are none or too many, or two have the same id.
    """
    given = context.inputs.get("messages")
    records: Sequence[Mapping[str, Any]] = given or _from_dataset(context)
    if not records:
        raise ToolError(
            "there is no message: give some as the input messages, or a dataset as data"
        )
    if len(records) > MAX_MESSAGES:
        raise ToolError(
            f"{len(records)} messages are more than a run takes ({MAX_MESSAGES}): "
            "start several runs, each with a part of them"
        )
    messages = [_message(number, record) for number, record in enumerate(records, start=1)]
    ids = [message.id for message in messages]
    if twice := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise ToolError(f"several messages have the id {', '.join(twice)}: give each its own")
    return messages


def _from_dataset(context: RunContext) -> list[dict[str, Any]]:
    table = next(iter(context.database.tables), None)
    if table is None:
        return []
    result = context.database.query(f"FROM {quote(table)}", max_rows=MAX_MESSAGES)
    if result.total > MAX_MESSAGES:
        raise ToolError(
            f"the dataset has {result.total} messages, more than a run takes ({MAX_MESSAGES})"
        )
    return result.records


def _message(number: int, record: Mapping[str, Any]) -> Message:
    lowered = {str(key).lower(): value for key, value in record.items()}

    def text(field: str) -> str:
        found = (lowered[key] for key in _KEYS[field] if lowered.get(key) not in (None, ""))
        return str(next(found, "")).strip()

    message = Message(
        id=text("id") or f"M{number}",
        sender=text("sender"),
        subject=text("subject"),
        body=text("body")[:_LONGEST_BODY],
        received_at=text("received_at"),
    )
    if not message.subject and not message.body:
        raise ToolError(
            f"message {message.id} has neither a subject nor a body; a message is an object with "
            "id, from, subject, body and received_at"
        )
    return message
