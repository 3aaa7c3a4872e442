"""Leases on their way from a real store to a worker, over a link that can be held up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crewmesh.common.grpc_client import (
    budget_stub,
    crew_store_stub,
    file_stub,
    open_channel,
    run_store_stub,
    session_store_stub,
)
from crewmesh.v1 import crew_store_pb2, run_pb2, run_store_pb2
from crewmesh_worker import clock
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import to_json
from crewmesh_worker.crews.library import CrewLibrary
from crewmesh_worker.crews.shared import SharedCrews
from crewmesh_worker.crews.store import CrewStore
from crewmesh_worker.crews.uploaded import UploadedCrews
from crewmesh_worker.files import WorkerFiles
from crewmesh_worker.local_model.process import LocalModel
from crewmesh_worker.projects.pools import ProjectPools
from crewmesh_worker.runner.pool import RunnerPool, RunnerSettings
from crewmesh_worker.runs.executor import Executor
from crewmesh_worker.runs.leases import LeaseKeeper, LeaseReceiver
from crewmesh_worker.runs.log import LogWriter
from crewmesh_worker.runs.prices import PriceList
from crewmesh_worker.runs.runners import Runners, RunSettings
from crewmesh_worker.runs.slots import Slots
from crewmesh_worker.sessions.memory import Memories
from tests.chaos.proxy import Link, to_port
from tests.conftest import until
from tests.integration.conftest import StoreClient, serving_store

QUEUED, RUNNING = run_pb2.RUN_STATUS_QUEUED, run_pb2.RUN_STATUS_RUNNING


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[RunnerPool]:
    pool = RunnerPool(RunnerSettings(slots=1, spares=1))
    await pool.start()
    yield pool
    await pool.stop()


class RecordingExecutor(Executor):
    """Also writes down when each lease is said to have begun."""

    begun: list[float]

    def start(self, lease: run_store_pb2.Lease, asked_at: float) -> None:
        self.begun.append(asked_at)
        super().start(lease, asked_at)


class Worker:
    """The part of a worker that takes leases and carries them out, with one slot."""

    def __init__(self, store: StoreClient, link: Link, pool: RunnerPool, cache: Path) -> None:
        self.slots = Slots(1)
        self._channel = open_channel(f"ipv4:{link.address}")
        runs = run_store_stub(self._channel)
        self._writer = LogWriter(runs, store.signer)
        files = WorkerFiles(file_stub(self._channel), store.signer, cache)
        crew_store = CrewStore(crew_store_stub(self._channel), store.signer)
        # It brings none itself: its runs are of version 1 of an uploaded crew.
        crews = CrewLibrary(SharedCrews(Catalogue({}), crew_store), UploadedCrews(crew_store))
        self.executor = RecordingExecutor(
            self.slots, crews, Runners(pool, ProjectPools(1, 1, cache, cache)), self._writer,
            files, budget_stub(self._channel), store.signer, PriceList(""),
            RunSettings(["offline"], "", {}), LocalModel(None), 60, 1000,
            Memories(session_store_stub(self._channel), store.signer),
        )  # fmt: skip
        self.executor.begun = []
        hello = run_store_pb2.WorkerHello(worker_id="w1", slots=1)
        self.receiver = LeaseReceiver(runs, store.signer, hello, self.slots, self.executor)
        self._keeper = LeaseKeeper(runs, store.signer, "w1", self.slots, self.executor)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        parts = (self.receiver.run(), self._writer.run(), self._keeper.run())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._channel.close()


@contextlib.asynccontextmanager
async def linked_worker(
    store: StoreClient, pool: RunnerPool, cache: Path
) -> AsyncIterator[tuple[Worker, Link]]:
    hello = crew_store_pb2.PutStoredCrewRequest(
        name="hello", definition_json=to_json(Catalogue.load().get("hello"))
    )
    await store.crews.PutStoredCrew(hello, metadata=store.person)
    link = Link("worker to store", to_port(store.port))
    await link.open()
    try:
        async with Worker(store, link, pool, cache).running() as worker:
            yield worker, link
    finally:
        link.close()


async def attached(store: StoreClient) -> bool:
    request = run_store_pb2.ListWorkersRequest()
    workers = (await store.runs.ListWorkers(request, metadata=store.service)).workers
    return bool(workers)


async def has_status(store: StoreClient, run: str, *wanted: run_pb2.RunStatus.ValueType) -> bool:
    return (await store.get(run)).status in wanted


async def test_a_lease_that_was_held_up_counts_from_before_its_run_was_claimed(
    store: StoreClient, pool: RunnerPool, tmp_path: Path
) -> None:
    async with linked_worker(store, pool, tmp_path) as (worker, link):
        await until(lambda: attached(store))
        link.hold()
        asked_before = clock.now()
        run = (await store.create()).run.id
        await until(lambda: has_status(store, run, RUNNING))
        link.release()
        events = await store.watch(run)
        assert worker.executor.begun[0] <= asked_before
    assert events[-1].type == "run.succeeded"
    assert {event.attempt for event in events[1:]} == {1}


async def test_a_lease_that_was_held_up_until_it_had_run_out_is_not_carried_out(
    database_url: str, pool: RunnerPool, tmp_path: Path
) -> None:
    async with (
        serving_store(database_url, tmp_path, lease_seconds=1) as store,
        linked_worker(store, pool, tmp_path) as (worker, link),
    ):
        await until(lambda: attached(store))
        link.hold()
        run = (await store.create(max_attempts=1)).run.id
        await until(lambda: has_status(store, run, RUNNING))
        await until(lambda: has_status(store, run, run_pb2.RUN_STATUS_FAILED))
        link.release()
        await until(lambda: taken_and_given_back(worker))
        # The runner that was ready for it has executed nothing.
        assert [runner.runs for runner in pool._idle] == [0]


async def taken_and_given_back(worker: Worker) -> bool:
    return bool(worker.executor.begun) and worker.slots.taken == 0
