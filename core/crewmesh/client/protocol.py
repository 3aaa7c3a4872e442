"""What both clients share and neither sends: requests, repetition, and a stream's cursor."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import httpx2

from crewmesh.client.errors import (
    ApiError,
    MeshError,
    StreamLostError,
    UnreachableError,
    api_error,
)
from crewmesh.client.models import RunEvent
from crewmesh.common.events import TERMINAL_EVENT_TYPES

DEFAULT_URL: Final = "http://127.0.0.1:8080"

_PASSING_STATUSES = frozenset({429, 502, 503, 504})
_ATTEMPTS = 4
_LONGEST_PAUSE_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_TIMEOUT = httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
# The mesh sends a comment every 15 s: silence for longer is a dead connection.
_STREAM_TIMEOUT = httpx2.Timeout(45.0, connect=_CONNECT_SECONDS)
# However long the file is.
_UPLOAD_TIMEOUT = httpx2.Timeout(None, connect=_CONNECT_SECONDS)


@dataclass(frozen=True)
class Options:
    """How a client reaches its mesh; times are in seconds.

    `patience` is how long a broken stream is tried anew without a new event, `backoff` the
    first pause between tries.
    """

    url: str
    api_key: str
    patience: float = 60.0
    backoff: float = 0.25
    user_agent: str = "crewmesh-python"

    def http(self) -> dict[str, Any]:
        """Return what the HTTP library's client is made with."""
        headers = {"User-Agent": self.user_agent}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return {"base_url": self.url, "headers": headers, "timeout": _TIMEOUT}

    def pause(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row: longer, with jitter."""
        longest = min(self.backoff * 2.0**failures, _LONGEST_PAUSE_SECONDS)
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, no secret


def options_of(url: str | None, api_key: str | None, **more: Any) -> Options:
    """Return options, with what isn't given from CREWMESH_URL and CREWMESH_API_KEY."""
    url = url or os.environ.get("CREWMESH_URL") or DEFAULT_URL
    key = os.environ.get("CREWMESH_API_KEY", "") if api_key is None else api_key
    return Options(url.strip().rstrip("/"), key.strip(), **more)


@dataclass(frozen=True)
class Request:
    """A call: `repeatable` when sending it again does no harm."""

    method: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True


def get(path: str, **query: Any) -> Request:
    """Return a GET; parameters that are None are left out."""
    return Request("GET", path, _with_query(query))


def post(path: str, body: Any = None, *, repeatable: bool = False, **query: Any) -> Request:
    """Return a POST, which is sent once unless it is said to be repeatable."""
    return Request("POST", path, _with_body(body, query), repeatable)


def create(path: str, body: Any, key: str | None, **query: Any) -> Request:
    """Return a POST of what is made once however often it is sent: it carries a key."""
    options = {**_with_body(body, query), "headers": {"Idempotency-Key": key or str(uuid.uuid4())}}
    return Request("POST", path, options)


def put(path: str, body: Any) -> Request:
    """Return a PUT."""
    return Request("PUT", path, {"json": body})


def put_content(path: str, content: bytes, media_type: str) -> Request:
    """Return a PUT of a document, sent once: a second one would say that nothing changed."""
    options = {"content": content, "headers": {"Content-Type": media_type}}
    return Request("PUT", path, options, repeatable=False)


def patch(path: str, body: Any) -> Request:
    """Return a PATCH, which sets what it names."""
    return Request("PATCH", path, {"json": body})


def delete(path: str) -> Request:
    """Return a DELETE."""
    return Request("DELETE", path)


def form(path: str, fields: Mapping[str, str]) -> Request:
    """Return a POST of a form, sent once."""
    return Request("POST", path, {"data": dict(fields)}, repeatable=False)


def upload(path: str, name: str, file: Any, filename: str, media_type: str) -> Request:
    """Return a POST of a file, sent once: the file is read as it goes."""
    options = {
        "data": {"name": name},
        "files": {"file": (filename, file, media_type)},
        "timeout": _UPLOAD_TIMEOUT,
    }
    return Request("POST", path, options, repeatable=False)


def event_stream(run_id: str, after: int) -> Request:
    """Return the call for a run's events from the one after `after` on."""
    headers = {"Accept": "text/event-stream"}
    if after:
        headers["Last-Event-ID"] = str(after)
    path = f"/v1/runs/{segment(run_id)}/events"
    return Request("GET", path, {"headers": headers, "timeout": _STREAM_TIMEOUT})


def segment(text: str) -> str:
    """Return an id or a name as one segment of a path."""
    return quote(text, safe="")


def given(**values: Any) -> dict[str, Any]:
    """Return the values that aren't None: what the caller left out takes the mesh's default."""
    return _given(values)


def pause_before_repeat(options: Options, error: MeshError, attempt: int) -> float:
    """Return how long to wait before a repeatable call's next attempt.

    Raises the error where another attempt has no chance, or the wait is for a person to decide.
    """
    wait = 0.0
    if isinstance(error, ApiError):
        wait = error.retry_after or 0.0
        if error.http_status not in _PASSING_STATUSES or wait > _LONGEST_PAUSE_SECONDS:
            raise error
    # Nobody listens: that is told at once. A cut connection is tried again.
    elif isinstance(error.__cause__, httpx2.ConnectError | httpx2.TimeoutException):
        raise error
    if attempt >= _ATTEMPTS:
        raise error
    return max(wait, options.pause(attempt))


def error_of(response: httpx2.Response) -> ApiError:
    """Return the exception for an answer that was read and isn't a success."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    after = response.headers.get("retry-after", "")
    return api_error(
        response.status_code,
        problem,
        reason=response.reason_phrase,
        retry_after=float(after) if after.isdigit() else None,
    )


def unreachable(url: str, error: httpx2.TransportError) -> UnreachableError:
    """Return the exception for a connection that couldn't be made, or broke."""
    return UnreachableError(
        f"no mesh answers at {url}",
        why=_reason(error),
        next_step="see what is wrong with `crewmesh doctor`, or start a mesh with `crewmesh up`",
    )


def clock_offset(date: str) -> float:
    """Return by how many seconds an answer's Date is ahead of our clock.

    The header has whole seconds and is as old as the answer took: 2 s are no difference.
    """
    try:
        ahead = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return ahead if abs(ahead) > 2 else 0.0


class StreamCursor:
    """Where the reader of one run's events is, across connections.

    Each event is taken once and in order: what comes again is left out, and after a gap the
    stream is taken up anew.
    """

    def __init__(self, options: Options, run_id: str, after: int) -> None:
        self.last_seq = after
        self.ended = False
        self._options = options
        self._run_id = run_id
        self._failures = 0
        self._deadline = time.monotonic() + options.patience

    def take(self, event: RunEvent) -> bool:
        """Return whether the event is the next one; raise TransportError when one is missing."""
        if event.seq <= self.last_seq:
            return False
        if event.seq > self.last_seq + 1:
            raise httpx2.ReadError(f"event {self.last_seq + 1} is missing")
        self.last_seq, self._failures = event.seq, 0
        self._deadline = time.monotonic() + self._options.patience
        self.ended = event.type in TERMINAL_EVENT_TYPES
        return True

    def pause(self, trouble: Exception | None) -> float:
        """Return how long to wait before the next connection.

        Raises the trouble itself when it won't pass, and StreamLostError when patience is out.
        """
        wait: float | None = None
        if isinstance(trouble, ApiError):
            if trouble.http_status not in _PASSING_STATUSES:
                raise trouble
            wait = trouble.retry_after
        self._failures += 1
        wait = self._options.pause(self._failures) if wait is None else wait
        if time.monotonic() + wait > self._deadline:
            raise StreamLostError(
                f"the stream of run {self._run_id} broke and could not be taken up again",
                last_seq=self.last_seq,
                why=_reason(trouble) if trouble else "the mesh ends it before the run's end",
                next_step=f"the run goes on without us: `crewmesh runs watch {self._run_id}`",
            ) from trouble
        return wait


def _with_body(body: Any, query: Mapping[str, Any]) -> dict[str, Any]:
    options = _with_query(query)
    return options if body is None else {**options, "json": body}


def _with_query(query: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"params": _given(query)}
    if wait := query.get("wait"):
        # The mesh answers that much later.
        options["timeout"] = httpx2.Timeout(_ANSWER_SECONDS + wait, connect=_CONNECT_SECONDS)
    return options


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
        if value is not None
    }


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
