"""Runs, their events and their artifacts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from crewmesh.client import protocol
from crewmesh.client._async.resource import AsyncResource, every
from crewmesh.client.models import Artifact, Json, Page, Run, RunEvent
from crewmesh.client.protocol import segment

_PATH = "/v1/runs"


class AsyncRunsResource(AsyncResource):
    """Executions of crews."""

    async def start(
        self,
        crew: str,
        inputs: Json | None = None,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        session_id: str | None = None,
        priority: int | None = None,
        timeout_seconds: int | None = None,
        max_attempts: int | None = None,
        models: Sequence[str] = (),
        budget: Json | None = None,
        webhook: str | Json | None = None,
    ) -> Run:
        """Start a run, once, however often the request must be sent.

        With `wait` (seconds, at most 60) it is returned when it has ended, or after that time.
        `budget` has `max_tokens`, `max_usd` or both. Your own `idempotency_key` makes it one
        run across processes, too.
        """
        body = protocol.given(
            crew=crew,
            inputs=inputs or {},
            session_id=session_id,
            priority=priority,
            timeout_seconds=timeout_seconds,
            max_attempts=max_attempts,
            models=list(models) or None,
            budget=budget,
            webhook=webhook,
        )
        return await self._transport.call(
            Run, protocol.create(_PATH, body, idempotency_key, wait=wait)
        )

    async def list(
        self,
        *,
        status: str | None = None,
        crew: str | None = None,
        session_id: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        text: str | None = None,
        webhook: str | None = None,
        created_by: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Run]:
        """Return one page of runs, newest first.

        `text` has words that they must have; `webhook` is how theirs stands: waiting, due,
        delivered or failed. `created_by` is the id of who started them, or `me`.
        """
        query = protocol.get(
            _PATH,
            status=status,
            crew=crew,
            session_id=session_id,
            created_after=created_after,
            created_before=created_before,
            q=text,
            webhook=webhook,
            created_by=created_by,
            limit=limit,
            cursor=cursor,
        )
        return await self._transport.call(Page[Run], query)

    def iterate(self, **filters: Any) -> AsyncIterator[Run]:
        """Yield all runs that `list` would return in pages, newest first."""
        return every(lambda cursor: self.list(**filters, cursor=cursor))

    async def get(self, run_id: str, *, wait: float | None = None) -> Run:
        """Return a run with its tasks, now, or when it has ended within `wait` seconds (≤ 60)."""
        return await self._transport.call(Run, protocol.get(_path(run_id), wait=wait))

    def events(self, run_id: str, *, after: int = 0) -> AsyncIterator[RunEvent]:
        """Yield a run's events live, each once, from the one after `after` to the terminal one.

        A connection that breaks is taken up again after the last event; StreamLostError is
        raised when that hasn't worked for the client's `patience_seconds`.
        """
        return self._transport.follow(run_id, after)

    async def list_events(
        self, run_id: str, *, after: int = 0, limit: int | None = None
    ) -> Page[RunEvent]:
        """Return the events that there are after a number, at most `limit` (≤ 1000)."""
        query = protocol.get(_path(run_id, "events"), after=after, limit=limit)
        return await self._transport.call(Page[RunEvent], query)

    async def wait(self, run_id: str, *, after: int = 0) -> Run:
        """Return a run when it has ended, however long that takes."""
        async for _ in self.events(run_id, after=after):
            pass
        return await self.get(run_id)

    async def cancel(self, run_id: str, *, reason: str = "") -> Run:
        """Ask for a run to be cancelled; harmless when it has ended."""
        request = protocol.post(_path(run_id, "cancel"), {"reason": reason}, repeatable=True)
        return await self._transport.call(Run, request)

    async def retry(self, run_id: str, *, idempotency_key: str | None = None) -> Run:
        """Start another run of what a run that has ended was asked, once."""
        request = protocol.create(_path(run_id, "retry"), None, idempotency_key)
        return await self._transport.call(Run, request)

    async def answer(
        self,
        run_id: str,
        text: str,
        *,
        approve: bool | None = None,
        question: int | None = None,
    ) -> Run:
        """Give a run that waits for a person what it waits for.

        With `question`, the `seq` of the `input.requested` that this answers, it reaches no
        later one, and may be repeated.
        """
        body = protocol.given(text=text, approve=approve, question=question)
        request = protocol.post(_path(run_id, "input"), body, repeatable=question is not None)
        return await self._transport.call(Run, request)

    async def artifacts(self, run_id: str) -> Page[Artifact]:
        """Return what a run has made so far, on one page."""
        return await self._transport.call(Page[Artifact], protocol.get(_path(run_id, "artifacts")))


class AsyncArtifactsResource(AsyncResource):
    """Files that runs made."""

    async def read(self, artifact_id: str) -> bytes:
        """Return an artifact's bytes."""
        return (await self._transport.send(protocol.get(_artifact(artifact_id)))).content

    async def save(self, artifact_id: str, path: Path) -> None:
        """Download an artifact's bytes into a file."""
        await self._transport.save(_artifact(artifact_id), path)


def _path(run_id: str, part: str = "") -> str:
    return f"{_PATH}/{segment(run_id)}" + (f"/{part}" if part else "")


def _artifact(artifact_id: str) -> str:
    return f"/v1/artifacts/{segment(artifact_id)}"
