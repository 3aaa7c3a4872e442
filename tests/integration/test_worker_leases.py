"""Leases on their way from a real store to a real worker, over a link that holds them up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh.v1.runner_pb2 import Execute, FromRunner
from crewmesh_worker import clock
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.shared import content_version
from crewmesh_worker.runner.runner import Runner
from crewmesh_worker.service import Worker
from crewmesh_worker.settings import WorkerSettings
from tests.chaos.proxy import Link, to_port
from tests.conftest import MESH_SECRET, until
from tests.integration.conftest import StoreClient, serving_store

HELLO = content_version(Catalogue.load().get("hello"))
FAILED, RUNNING = run_pb2.RUN_STATUS_FAILED, run_pb2.RUN_STATUS_RUNNING


class RecordingWorker(Worker):
    """Also writes down when each lease is said to have begun."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        self.begun: list[float] = []
        start = self._executor.start

        def record(lease: run_store_pb2.Lease, asked_at: float) -> None:
            self.begun.append(asked_at)
            start(lease, asked_at)

        self._executor.start = record  # type: ignore[method-assign]

    @property
    def is_done(self) -> bool:
        """Whether it has had a lease and has none any more."""
        return bool(self.begun) and self._slots.taken == 0


@contextlib.asynccontextmanager
async def linked_worker(
    store: StoreClient, directory: Path
) -> AsyncIterator[tuple[RecordingWorker, Link]]:
    """A worker with one slot, once it is ready, and its link to the store."""
    link, stop, ready = (
        Link("worker to store", to_port(store.port)),
        asyncio.Event(),
        directory / "w",
    )
    await link.open()
    worker = RecordingWorker(
        WorkerSettings(
            store_target=f"ipv4:{link.address}",
            mesh_secret=MESH_SECRET,
            worker_address="127.0.0.1:0",
            slots=1,
            drain_seconds=0,
            ready_file=ready,
        )
    )
    try:
        serving = asyncio.create_task(worker.serve(await worker.start(), stop))
        await until(lambda: _is(ready.exists()), 60)
        yield worker, link
        stop.set()
        await serving
    finally:
        await worker.stop()
        link.close()


async def _is(condition: bool) -> bool:
    return condition


async def has_status(store: StoreClient, run: str, wanted: run_pb2.RunStatus.ValueType) -> bool:
    return (await store.get(run)).status == wanted


async def test_a_lease_that_was_held_up_counts_from_before_its_run_was_claimed(
    store: StoreClient, tmp_path: Path
) -> None:
    async with linked_worker(store, tmp_path) as (worker, link):
        link.hold_back()
        run = (await store.create(crew_version=HELLO)).run.id
        await until(lambda: has_status(store, run, RUNNING), 60)
        claimed_by = clock.now()
        link.release()
        events = await store.watch(run)
        assert worker.begun[0] <= claimed_by
    assert events[-1].type == "run.succeeded"


async def test_a_lease_that_was_held_up_until_it_had_run_out_is_not_carried_out(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[str] = []
    execute = Runner.execute

    def record(runner: Runner, request: Execute) -> AsyncIterator[FromRunner]:
        executed.append(request.run_id)
        return execute(runner, request)

    monkeypatch.setattr(Runner, "execute", record)
    async with (
        serving_store(database_url, tmp_path, lease_seconds=1) as store,
        linked_worker(store, tmp_path) as (worker, link),
    ):
        link.hold_back()
        run = (await store.create(crew_version=HELLO, max_attempts=1)).run.id
        await until(lambda: has_status(store, run, FAILED), 60)
        link.release()
        await until(lambda: _is(worker.is_done), 60)
    assert executed == []
