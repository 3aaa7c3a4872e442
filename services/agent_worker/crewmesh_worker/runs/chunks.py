"""Pieces of models' answers on their way to the log: a secret may come in several of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crewmesh.v1 import runner_pb2
from crewmesh_worker.redaction import Redactor

_CHUNK = "llm.chunk"
_ENDS = ("llm.completed", "llm.failed")


@dataclass
class _Held:
    """The end of what came of an answer, which may begin a secret, and the event that it came by."""

    event: runner_pb2.RunnerEvent
    text: str
    chunks: int


class RedactedEvents:
    """Takes a run's events and gives them back without secrets, in order.

    What may be the beginning of a secret waits for the answer's next piece, or its end.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held: dict[str, _Held] = {}

    def take(self, event: runner_pb2.RunnerEvent) -> Iterator[tuple[runner_pb2.RunnerEvent, str]]:
        """Yield the events that can be told now that this one has come, each with its payload."""
        payload = _payload_of(event) if self._redactor.is_needed else None
        if payload is not None and event.type == _CHUNK:
            yield from self._piece(event, payload)
            return
        if payload is not None:
            yield from self._end(str(payload["call_id"]))
        yield event, self._redactor.redact(event.payload_json)

    def rest(self) -> Iterator[tuple[runner_pb2.RunnerEvent, str]]:
        """Yield what waited: nothing more comes."""
        for call_id in list(self._held):
            yield from self._end(call_id)

    def _piece(
        self, event: runner_pb2.RunnerEvent, payload: dict[str, Any]
    ) -> Iterator[tuple[runner_pb2.RunnerEvent, str]]:
        call_id, text, chunks = str(payload["call_id"]), payload["text"], payload["chunks"]
        if (held := self._held.pop(call_id, None)) is not None:
            text, chunks = held.text + text, chunks + held.chunks
        told, rest = self._redactor.split(text)
        if rest:
            self._held[call_id] = _Held(event, rest, 0 if told else chunks)
        if told:
            yield event, _payload(call_id, told, chunks)

    def _end(self, call_id: str) -> Iterator[tuple[runner_pb2.RunnerEvent, str]]:
        if (held := self._held.pop(call_id, None)) is not None:
            yield held.event, _payload(call_id, self._redactor.end(held.text), held.chunks)


def _payload_of(event: runner_pb2.RunnerEvent) -> dict[str, Any] | None:
    """Return what a piece of an answer, or its end, says; None of any other event."""
    if event.type not in (_CHUNK, *_ENDS):
        return None
    try:
        payload = json.loads(event.payload_json)
    except ValueError:
        return None  # a runner's mistake, as below
    if not isinstance(payload, dict) or "call_id" not in payload:
        return None
    is_piece = isinstance(payload.get("text"), str) and isinstance(payload.get("chunks"), int)
    return payload if event.type in _ENDS or is_piece else None


def _payload(call_id: str, text: str, chunks: int) -> str:
    payload = {"call_id": call_id, "text": text, "chunks": chunks}
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
