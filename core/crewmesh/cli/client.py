"""A mesh's REST interface, as the commands use it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, Self, TypedDict

import httpx2

from crewmesh.cli.connection import Connection
from crewmesh.cli.errors import ApiError, UnreachableError
from crewmesh.common.events import TERMINAL_EVENT_TYPES

Json = dict[str, Any]

_PASSING_STATUSES = frozenset({429, 502, 503, 504})
_ATTEMPTS = 4


class Event(TypedDict):
    """One entry of a run's log."""

    seq: int
    run_id: str
    at: str
    attempt: int
    type: str
    task: str | None
    agent: str | None
    payload: Json


class MeshClient:
    """Calls one mesh. Failures are ApiError (it said no) or UnreachableError.

    Calls that change nothing, or that carry an idempotency key, are repeated a few
    times when the mesh says that it is busy or restarting.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        patience_seconds: float = 60.0,
        backoff_seconds: float = 0.25,
    ) -> None:
        self.url = connection.url
        self._patience_seconds = patience_seconds
        self._backoff_seconds = backoff_seconds
        # Of the mesh's clock, ahead of ours; 0 while it can't be told from delay.
        self.clock_offset_seconds = 0.0
        headers = {"User-Agent": "crewmesh-cli"}
        if connection.api_key:
            headers["Authorization"] = f"Bearer {connection.api_key}"
        self._http = httpx2.AsyncClient(
            base_url=connection.url,
            headers=headers,
            timeout=httpx2.Timeout(30.0, connect=5.0),
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        """Return the JSON answer to a GET; parameters that are None are left out."""
        query = {name: value for name, value in query.items() if value is not None}
        return (await self._repeat("GET", path, params=query)).json()

    async def get_readiness(self) -> dict[str, str]:
        """Return the state of each of the gateway's dependencies, which serve or don't."""
        try:
            response = await self._http.get("/readyz")
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if response.status_code not in (200, 503):
            raise _api_error(response)
        dependencies: dict[str, str] = response.json()["dependencies"]
        return dependencies

    async def post(self, path: str, body: Json) -> Any:
        """Return the JSON answer to a POST, which is sent once."""
        return (await self._send("POST", path, json=body)).json()

    async def patch(self, path: str, body: Json) -> Any:
        """Return the JSON answer to a PATCH, which may be repeated."""
        return (await self._repeat("PATCH", path, json=body)).json()

    async def sign_in(self, email: str, password: str) -> Json:
        """Return tokens for a password."""
        form = {"grant_type": "password", "username": email, "password": password}
        tokens: Json = (await self._send("POST", "/v1/auth/token", data=form)).json()
        return tokens

    async def sign_out(self, refresh_token: str) -> None:
        """End the sign-in that a refresh token came of."""
        await self._send("POST", "/v1/auth/logout", json={"refresh_token": refresh_token})

    async def put(self, path: str, body: Json) -> Any:
        """Return the JSON answer to a PUT, which may be repeated."""
        return (await self._repeat("PUT", path, json=body)).json()

    async def put_file(self, path: str, content: bytes, media_type: str) -> Any:
        """Return the JSON answer to a PUT of a file, which is sent once."""
        headers = {"Content-Type": media_type}
        return (await self._send("PUT", path, content=content, headers=headers)).json()

    async def delete(self, path: str) -> None:
        """Send a DELETE."""
        await self._repeat("DELETE", path)

    async def start_run(self, body: Json) -> Json:
        """Start a run, once, however often the request must be sent."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        response = await self._repeat("POST", "/v1/runs", json=body, headers=headers)
        run: Json = response.json()
        return run

    async def post_message(self, session_id: str, content: str) -> Json:
        """Post a message to a session, once, however often the request must be sent."""
        path = f"/v1/sessions/{session_id}/messages"
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        response = await self._repeat("POST", path, json={"content": content}, headers=headers)
        posted: Json = response.json()
        return posted

    async def cancel_run(self, run_id: str, reason: str) -> Json:
        """Ask for a run to be cancelled; harmless when it has ended."""
        path = f"/v1/runs/{run_id}/cancel"
        run: Json = (await self._repeat("POST", path, json={"reason": reason})).json()
        return run

    async def answer_run(self, run_id: str, answer: Json) -> None:
        """Answer a run's question once: `answer` names it, and has `text` and `approve`."""
        await self._repeat("POST", f"/v1/runs/{run_id}/input", json=answer)

    async def put_dataset(self, name: str, media_type: str, file: BinaryIO) -> Json:
        """Upload what `file` has from here on as a dataset, and return it."""
        response = await self._send(
            "POST",
            "/v1/datasets",
            data={"name": name},
            files={"file": (Path(file.name).name, file, media_type)},
            timeout=httpx2.Timeout(None, connect=5.0),
        )
        dataset: Json = response.json()
        return dataset

    async def save_artifact(self, artifact: Json, path: Path) -> None:
        """Download an artifact's bytes into `path`."""
        try:
            async with self._http.stream("GET", f"/v1/artifacts/{artifact['id']}") as response:
                await self._check(response)
                with path.open("wb") as file:
                    async for chunk in response.aiter_bytes():
                        file.write(chunk)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    async def watch(self, run_id: str, after: int = 0) -> AsyncGenerator[Event]:
        """Yield the run's events, each once, from the one after `after` to the terminal one.

        Connections that break are taken up again after the last event seen, for
        `patience_seconds` without a new one; then UnreachableError is raised.
        """
        loop = asyncio.get_running_loop()
        last_seq, failures, deadline = after, 0, loop.time() + self._patience_seconds
        while True:
            wait: float | None = None
            trouble: Exception | None = None
            try:
                async with contextlib.aclosing(self._stream_events(run_id, last_seq)) as events:
                    async for event in events:
                        if event["seq"] <= last_seq:
                            continue
                        last_seq, failures = event["seq"], 0
                        deadline = loop.time() + self._patience_seconds
                        yield event
                        if event["type"] in TERMINAL_EVENT_TYPES:
                            return
            except httpx2.TransportError as error:
                trouble = error
            except ApiError as error:
                if error.http_status not in _PASSING_STATUSES:
                    raise
                trouble, wait = error, error.retry_after
            failures += 1
            wait = self._pause(failures) if wait is None else wait
            if loop.time() + wait > deadline:
                raise UnreachableError(
                    f"the stream of run {run_id} broke and could not be taken up again",
                    why=_reason(trouble) if trouble else "the mesh ends it before the run's end",
                    next_step=f"the run goes on without us: `crewmesh runs watch {run_id}`",
                ) from trouble
            await asyncio.sleep(wait)

    async def _stream_events(self, run_id: str, after_seq: int) -> AsyncGenerator[Event]:
        headers = {"Accept": "text/event-stream"}
        if after_seq:
            headers["Last-Event-ID"] = str(after_seq)
        # The mesh sends a comment every 15 s: silence for longer is a dead connection.
        timeout = httpx2.Timeout(45.0, connect=5.0)
        path = f"/v1/runs/{run_id}/events"
        async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            await self._check(response)
            async for message in httpx2.EventSource(response):
                if message.data:
                    event: Any = message.json()
                    yield event

    async def _repeat(self, method: str, path: str, **options: Any) -> httpx2.Response:
        for attempt in range(1, _ATTEMPTS):
            try:
                return await self._send(method, path, **options)
            except ApiError as error:
                wait = error.retry_after or 0.0
                if error.http_status not in _PASSING_STATUSES or wait > 5:
                    raise
            except UnreachableError as error:
                # Nobody listens: that is told at once. A cut connection is tried again.
                if isinstance(error.__cause__, httpx2.ConnectError | httpx2.TimeoutException):
                    raise
                wait = 0.0
            await asyncio.sleep(max(wait, self._pause(attempt)))
        return await self._send(method, path, **options)

    async def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            response = await self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        await self._check(response)
        return response

    async def _check(self, response: httpx2.Response) -> None:
        self._note_date(response.headers.get("date", ""))
        if response.is_error:
            await response.aread()
            raise _api_error(response)

    def _note_date(self, date: str) -> None:
        try:
            ahead = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return
        # The header has whole seconds and is as old as the answer took.
        self.clock_offset_seconds = ahead if abs(ahead) > 2 else 0.0

    def _pause(self, failures: int) -> float:
        longest = min(self._backoff_seconds * 2.0**failures, 5.0)
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, no secret

    def _unreachable(self, error: httpx2.TransportError) -> UnreachableError:
        return UnreachableError(
            f"no mesh answers at {self.url}",
            why=_reason(error),
            next_step="see what is wrong with `crewmesh doctor`, or start a mesh with `crewmesh up`",
        )


def with_progress(file: BinaryIO, on_read: Callable[[int], None]) -> BinaryIO:
    """Return `file` so that `on_read` learns of every number of bytes read from it."""
    return _CountedFile(file, on_read)  # type: ignore[return-value]  # as much of one as an upload needs


class _CountedFile:
    def __init__(self, file: BinaryIO, on_read: Callable[[int], None]) -> None:
        self._file = file
        self._on_read = on_read

    def read(self, count: int = -1) -> bytes:
        chunk = self._file.read(count)
        self._on_read(len(chunk))
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _api_error(response: httpx2.Response) -> ApiError:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    status = response.status_code
    faults = problem.get("errors") or []
    return ApiError(
        problem.get("detail") or problem.get("title") or f"the mesh answered {status}",
        http_status=status,
        code=problem.get("code", ""),
        retry_after=_retry_after(response),
        details=[f"{_location(fault.get('loc'))}: {fault.get('msg', '')}" for fault in faults],
        faults=[
            (tuple(fault["loc"]), str(fault.get("msg", "")))
            for fault in faults
            if isinstance(fault.get("loc"), list)
        ],
        why=f"{status} {problem.get('code') or response.reason_phrase}"
        + (f", request {problem['request_id']}" if problem.get("request_id") else ""),
        next_step=_NEXT_STEPS_BY_CODE.get(problem.get("code", ""), _NEXT_STEPS.get(status, "")),
    )


_NEXT_STEPS = {
    401: "check CREWMESH_API_KEY, or log in again with `crewmesh login`",
    403: "ask an owner of your organisation for a key that may do this",
    429: "wait a little and try again",
    500: "look into the mesh's logs for this request",
    503: "try again shortly; `crewmesh doctor` shows which part is down",
}
_NEXT_STEPS_BY_CODE = {
    "crew_not_yours": "give it another name: `crewmesh crews push --name NAME`",
    "crew_version_not_found": "`crewmesh crews versions CREW` lists the versions there are",
    "policy_denied": "`crewmesh policy show` tells what is allowed; an owner or admin changes it",
}


def _location(loc: Any) -> str:
    # With YAML, which most commands never need.
    from crewmesh.common.documents.places import show_place

    return show_place(tuple(loc)) if isinstance(loc, list) else str(loc or "request")


def _retry_after(response: httpx2.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None
