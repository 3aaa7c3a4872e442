"""Crews, tools, datasets and conversations: what runs are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from crewmesh.client import protocol
from crewmesh.client._async.resource import AsyncResource, every
from crewmesh.client.models import (
    Crew,
    CrewDiff,
    CrewVersion,
    Dataset,
    ForgottenMemory,
    Json,
    Page,
    PostedMessage,
    PutCrew,
    Session,
    SessionMessage,
    Tool,
)
from crewmesh.client.protocol import segment


class AsyncCrewsResource(AsyncResource):
    """What can be run."""

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Crew]:
        """Return one page of crews, without their definitions."""
        return await self._transport.call(
            Page[Crew], protocol.get("/v1/crews", limit=limit, cursor=cursor)
        )

    def iterate(self) -> AsyncIterator[Crew]:
        """Yield all crews."""
        return every(lambda cursor: self.list(limit=200, cursor=cursor))

    async def get(self, name: str, *, version: str | None = None) -> Crew:
        """Return a crew, by default in its current version."""
        return await self._transport.call(Crew, protocol.get(_crew(name), version=version))

    async def put(self, name: str, definition: Json) -> PutCrew:
        """Bring a crew, or the next version of one."""
        return await self._transport.call(PutCrew, protocol.put(_crew(name), definition))

    async def push(self, name: str, content: bytes, media_type: str) -> PutCrew:
        """Bring a crew as a document: its definition in YAML or JSON."""
        request = protocol.put_content(_crew(name), content, media_type)
        return await self._transport.call(PutCrew, request)

    async def delete(self, name: str) -> None:
        """Remove a crew; runs of it that were accepted go on."""
        await self._transport.send(protocol.delete(_crew(name)))

    async def versions(
        self, name: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[CrewVersion]:
        """Return one page of a crew's versions, newest first."""
        query = protocol.get(_crew(name, "versions"), limit=limit, cursor=cursor)
        return await self._transport.call(Page[CrewVersion], query)

    async def diff(
        self, name: str, first: str | None = None, second: str | None = None
    ) -> CrewDiff:
        """Return what changed from a version to another; by default the last change."""
        query = {"from": first, "to": second}
        return await self._transport.call(CrewDiff, protocol.get(_crew(name, "diff"), **query))

    async def roll_back(self, name: str, version: int | str) -> Crew:
        """Make a version the current one; runs that were accepted keep theirs."""
        body = {"version": version}
        request = protocol.post(_crew(name, "rollback"), body, repeatable=True)
        return await self._transport.call(Crew, request)


class AsyncToolsResource(AsyncResource):
    """What agents may use."""

    async def list(self) -> Page[Tool]:
        """Return the tools that a definition may name, on one page."""
        return await self._transport.call(Page[Tool], protocol.get("/v1/tools"))


class AsyncDatasetsResource(AsyncResource):
    """Uploaded data."""

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Dataset]:
        """Return one page of datasets, newest first."""
        return await self._transport.call(
            Page[Dataset], protocol.get("/v1/datasets", limit=limit, cursor=cursor)
        )

    def iterate(self) -> AsyncIterator[Dataset]:
        """Yield all datasets, newest first."""
        return every(lambda cursor: self.list(limit=200, cursor=cursor))

    async def get(self, id_or_name: str) -> Dataset:
        """Return a dataset; a name means the newest that has it."""
        return await self._transport.call(Dataset, protocol.get(_dataset(id_or_name)))

    async def upload(self, file: BinaryIO, *, name: str, filename: str, media_type: str) -> Dataset:
        """Store what `file` has from here on; it is sent once."""
        request = protocol.upload("/v1/datasets", name, file, filename, media_type)
        return await self._transport.call(Dataset, request)

    async def save(self, dataset_id: str, path: Path) -> None:
        """Download a dataset's bytes, as they were uploaded, into a file."""
        await self._transport.save(_dataset(dataset_id) + "/content", path)

    async def delete(self, dataset_id: str) -> None:
        """Delete a dataset and its bytes."""
        await self._transport.send(protocol.delete(_dataset(dataset_id)))


class AsyncSessionsResource(AsyncResource):
    """Conversations with crews."""

    async def create(self, crew: str, *, inputs: Json | None = None, title: str = "") -> Session:
        """Begin a conversation; sent once."""
        body = {"crew": crew, "title": title, "inputs": inputs or {}}
        return await self._transport.call(Session, protocol.post("/v1/sessions", body))

    async def list(
        self, *, crew: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[Session]:
        """Return one page of conversations, newest first."""
        query = protocol.get("/v1/sessions", crew=crew, limit=limit, cursor=cursor)
        return await self._transport.call(Page[Session], query)

    def iterate(self, **filters: Any) -> AsyncIterator[Session]:
        """Yield all conversations that `list` would return in pages."""
        return every(lambda cursor: self.list(**filters, cursor=cursor))

    async def get(self, session_id: str) -> Session:
        """Return a conversation without its messages."""
        return await self._transport.call(Session, protocol.get(_session(session_id)))

    async def delete(self, session_id: str) -> None:
        """Delete a conversation with its messages and memories, and cancel its runs."""
        await self._transport.send(protocol.delete(_session(session_id)))

    async def forget(self, session_id: str) -> ForgottenMemory:
        """Delete what the crew has kept in its long-term memory of a conversation."""
        request = protocol.delete(_session(session_id, "memory"))
        return await self._transport.call(ForgottenMemory, request)

    async def messages(
        self,
        session_id: str,
        *,
        order: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[SessionMessage]:
        """Return one page of messages, as they were said, or the newest first with `desc`."""
        path = _session(session_id, "messages")
        query = protocol.get(path, order=order, limit=limit, cursor=cursor)
        return await self._transport.call(Page[SessionMessage], query)

    async def post(
        self,
        session_id: str,
        content: str,
        *,
        wait: float | None = None,
        timeout_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> PostedMessage:
        """Say something, once, and start the run that answers it; `wait` is as in `runs.start`."""
        body = protocol.given(content=content, timeout_seconds=timeout_seconds)
        path = _session(session_id, "messages")
        request = protocol.create(path, body, idempotency_key, wait=wait)
        return await self._transport.call(PostedMessage, request)


def _crew(name: str, part: str = "") -> str:
    return f"/v1/crews/{segment(name)}" + (f"/{part}" if part else "")


def _dataset(dataset_id: str) -> str:
    return f"/v1/datasets/{segment(dataset_id)}"


def _session(session_id: str, part: str = "") -> str:
    return f"/v1/sessions/{segment(session_id)}" + (f"/{part}" if part else "")
