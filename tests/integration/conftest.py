"""A real store over a real Postgres, and clients of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.common.grpc_client import (
    crew_store_stub,
    file_stub,
    identity_stub,
    limit_stub,
    open_channel,
    run_store_stub,
)
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import agent_pb2, identity_pb2, run_pb2, run_store_pb2
from crewmesh_store.service import Store
from crewmesh_store.settings import StoreSettings
from tests.conftest import API_KEY, MESH_SECRET


@dataclass
class StoreClient:
    """What a worker, and a person behind it, can call."""

    channel: grpc.aio.Channel
    org: Identity
    port: int

    def __post_init__(self) -> None:
        self.runs = run_store_stub(self.channel)
        self.identities = identity_stub(self.channel)
        self.limits = limit_stub(self.channel)
        self.files = file_stub(self.channel)
        self.crews = crew_store_stub(self.channel)
        self.signer = IdentitySigner(MESH_SECRET, "agent_worker")

    @property
    def person(self) -> Any:
        return self.signer.metadata(self.org)

    @property
    def run(self) -> Any:
        """What a worker shows that works on a run of the person's."""
        return self.signer.metadata(
            Identity.of_run("agent_worker", self.org.org_id, self.org.user_id)
        )

    @property
    def service(self) -> Any:
        return self.signer.metadata()

    @contextlib.asynccontextmanager
    async def reconnectable(self) -> AsyncIterator[StoreClient]:
        """The same with a connection of its own, which outlives this replica."""
        channel = open_channel(f"ipv4:127.0.0.1:{self.port}")
        try:
            yield StoreClient(channel, self.org, self.port)
        finally:
            await channel.close()

    async def create(
        self,
        worker_id: str = "",
        crew_version: str = "1",
        policy_as_of: Timestamp | None = None,
        **spec: Any,
    ) -> run_store_pb2.CreateRunResponse:
        fields = {"crew": "hello", "inputs_json": "{}", "timeout_seconds": 60, "max_attempts": 2}
        request = run_store_pb2.CreateRunRequest(
            spec=agent_pb2.RunSpec(**{**fields, **spec}),
            crew_version=crew_version,
            worker_id=worker_id,
            policy_as_of=policy_as_of,
        )
        return await self.runs.CreateRun(request, metadata=self.person)

    async def append(self, *appends: run_store_pb2.Append) -> list[str]:
        response = await self.runs.AppendEvents(
            run_store_pb2.AppendEventsRequest(appends=appends), metadata=self.service
        )
        return [
            run_store_pb2.AppendOutcome.Name(r.outcome).removeprefix("APPEND_OUTCOME_")
            for r in response.results
        ]

    async def get(self, run_id: str) -> run_pb2.Run:
        request = agent_pb2.GetRunRequest(run_id=run_id)
        return (await self.runs.GetRun(request, metadata=self.person)).run

    async def events(self, run_id: str, after_seq: int = 0) -> list[run_pb2.RunEvent]:
        request = agent_pb2.ListRunEventsRequest(run_id=run_id, after_seq=after_seq, page_size=1000)
        return list((await self.runs.ListRunEvents(request, metadata=self.person)).events)

    async def watch(self, run_id: str, after_seq: int = 0) -> list[run_pb2.RunEvent]:
        """Watch to the end of the stream."""
        request = agent_pb2.WatchRunRequest(run_id=run_id, after_seq=after_seq)
        events: list[run_pb2.RunEvent] = []
        async for response in self.runs.WatchRun(request, metadata=self.person):
            events.extend(response.events)
        return events


def event(event_type: str = "log", payload_json: str = "{}", **fields: Any) -> run_pb2.RunEvent:
    message = run_pb2.RunEvent(type=event_type, payload_json=payload_json, **fields)
    message.at.GetCurrentTime()
    return message


def append(
    lease: run_store_pb2.Lease,
    first_seq: int,
    *events: run_pb2.RunEvent,
    status: run_pb2.RunStatus.ValueType | None = None,
    **change: Any,
) -> run_store_pb2.Append:
    transition = run_store_pb2.Transition(status=status, **change) if status else None
    return run_store_pb2.Append(
        run_id=lease.run.id,
        epoch=lease.epoch,
        first_seq=first_seq,
        events=events or [event()],
        transition=transition,
    )


def ending(lease: run_store_pb2.Lease, first_seq: int) -> run_store_pb2.Append:
    return append(
        lease,
        first_seq,
        event("run.succeeded"),
        status=run_pb2.RUN_STATUS_SUCCEEDED,
        output="done",
    )


def new_key() -> str:
    """Return a key for secrets, as CREWMESH_SECRETS_KEY takes it."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


@contextlib.asynccontextmanager
async def serving_store(
    database_url: str, directory: Path, **settings: Any
) -> AsyncIterator[StoreClient]:
    """A replica of the store."""
    store = Store(
        StoreSettings(
            database_url=database_url,
            mesh_secret=MESH_SECRET,
            object_store_url=f"file://{directory}/objects",
            bootstrap_api_key=API_KEY,
            **{"store_address": "127.0.0.1:0", **settings},
        )
    )
    async with serving(store) as client:
        yield client


@contextlib.asynccontextmanager
async def serving(store: Store) -> AsyncIterator[StoreClient]:
    """A store that serves for the length of the block, and the owner's client of it."""
    await store.start()
    stop = asyncio.Event()
    serving = asyncio.create_task(store.serve(stop))
    channel = open_channel(f"ipv4:127.0.0.1:{store.port}")
    try:
        principal = (
            await identity_stub(channel).Authenticate(
                identity_pb2.AuthenticateRequest(credential=API_KEY),
                metadata=IdentitySigner(MESH_SECRET, "agent_worker").metadata(),
            )
        ).principal
        identity = Identity("agent_worker", principal.org_id, principal.user_id, principal.role)
        yield StoreClient(channel, identity, store.port)
    finally:
        await channel.close()
        stop.set()
        await serving
        await store.stop()


@pytest.fixture
async def store(database_url: str, tmp_path: Path) -> AsyncIterator[StoreClient]:
    async with serving_store(database_url, tmp_path) as client:
        yield client
