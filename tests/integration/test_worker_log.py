"""A worker's events on their way to a real store."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc.aio import Metadata

from crewmesh.v1 import run_pb2, run_store_pb2, run_store_pb2_grpc
from crewmesh_worker.runs.log import LogWriter, RunLog
from tests.integration.conftest import StoreClient, event, serving_store
from tests.integration.test_store_runs import Attached

SUCCEEDED = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_SUCCEEDED, output="done")


@contextlib.asynccontextmanager
async def writing(store: StoreClient) -> AsyncIterator[LogWriter]:
    writer = LogWriter(store.runs, store.signer)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()


async def write_run(run_log: RunLog, events: int) -> None:
    for number in range(events):
        await run_log.add(event(payload_json=f'{{"n": {number}}}'))
    await run_log.end(event("run.succeeded"), SUCCEEDED)


async def test_events_of_many_runs_are_stored_each_in_order(store: StoreClient) -> None:
    leases = [(await store.create(worker_id="w1")).lease for _ in range(20)]
    async with writing(store) as writer:
        await asyncio.gather(*(write_run(writer.open(lease), 450) for lease in leases))
    for lease in leases:
        run = await store.get(lease.run.id)
        assert (run.status, run.last_seq) == (run_pb2.RUN_STATUS_SUCCEEDED, 453)
        events = await store.events(lease.run.id, after_seq=2)
        assert [e.payload_json for e in events[:-1]] == [f'{{"n": {n}}}' for n in range(450)]
        assert [e.seq for e in events] == list(range(3, 454))


async def test_events_are_kept_while_the_store_is_away_and_stored_once_when_it_is_back(
    database_url: str, tmp_path: Path
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        store = await first.enter_async_context(serving_store(database_url, tmp_path))
        lease = (await store.create(worker_id="w1")).lease
        address = f"127.0.0.1:{store.port}"
        worker = await stack.enter_async_context(store.reconnectable())
        writer = await stack.enter_async_context(writing(worker))
        run_log = writer.open(lease)
        await run_log.add(event())
        await first.aclose()
        writing_run = asyncio.create_task(write_run(run_log, 50))
        again = await stack.enter_async_context(
            serving_store(database_url, tmp_path, store_address=address)
        )
        await writing_run
        events = await again.events(lease.run.id)
        assert [e.seq for e in events] == list(range(1, 55))
        assert events[-1].type == "run.succeeded"


class _LosesItsFirstAnswer:
    """A store that stores, but whose first answer to it doesn't arrive."""

    def __init__(self, store: run_store_pb2_grpc.RunStoreServiceAsyncStub) -> None:
        self._store = store
        self.stored, self.lose = asyncio.Event(), asyncio.Event()

    async def AppendEvents(
        self, request: run_store_pb2.AppendEventsRequest, **options: Any
    ) -> run_store_pb2.AppendEventsResponse:
        response = await self._store.AppendEvents(request, **options)
        if not self.stored.is_set():
            self.stored.set()
            await self.lose.wait()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata())
        return response


async def test_a_run_goes_on_though_the_stores_answer_was_lost(store: StoreClient) -> None:
    """What was stored is sent again while more has come: it must not look like another append."""
    lease = (await store.create(worker_id="w1")).lease
    losing = _LosesItsFirstAnswer(store.runs)
    writer = LogWriter(losing, store.signer)  # type: ignore[arg-type]
    task = asyncio.create_task(writer.run())
    try:
        run_log = writer.open(lease)
        await run_log.add(event(payload_json='{"n": 0}'))
        await losing.stored.wait()
        await run_log.add(event(payload_json='{"n": 1}'))
        losing.lose.set()
        await run_log.end(event("run.succeeded"), SUCCEEDED)
    finally:
        task.cancel()
    assert not run_log.lost.is_set()
    events = await store.events(lease.run.id, after_seq=2)
    assert [(e.seq, e.type) for e in events] == [(3, "log"), (4, "log"), (5, "run.succeeded")]


async def test_a_log_whose_lease_is_lost_is_closed_and_the_others_go_on(store: StoreClient) -> None:
    lost = (await store.create(worker_id="w1")).lease
    held = (await store.create(worker_id="w1")).lease
    lost.epoch += 1
    async with writing(store) as writer:
        lost_log, held_log = writer.open(lost), writer.open(held)
        await asyncio.gather(write_run(lost_log, 3), write_run(held_log, 3))
    assert lost_log.lost.is_set()
    assert not held_log.lost.is_set()
    assert len(await store.events(lost.run.id)) == 2
    assert len(await store.events(held.run.id)) == 6


async def test_an_event_that_cannot_be_stored_ends_its_own_run_only(store: StoreClient) -> None:
    bad, good = [(await store.create(worker_id="w1")).lease for _ in range(2)]
    async with writing(store) as writer:
        bad_log, good_log = writer.open(bad), writer.open(good)
        await bad_log.add(event(payload_json="{not json"))
        await asyncio.gather(write_run(bad_log, 1), write_run(good_log, 1))
    assert bad_log.lost.is_set()
    assert (await store.get(good.run.id)).status == run_pb2.RUN_STATUS_SUCCEEDED


async def test_long_events_of_many_runs_at_once_fit_into_messages(store: StoreClient) -> None:
    """30 MB: more than one message may have, or than one run's turn may take."""
    leases = [(await store.create(worker_id="w1")).lease for _ in range(10)]
    noise = json.dumps({"text": "x" * 60_000})

    async def write_long(run_log: RunLog) -> None:
        for _ in range(50):
            await run_log.add(event(payload_json=noise))
        await run_log.end(event("run.succeeded"), SUCCEEDED)

    async with writing(store) as writer:
        await asyncio.gather(*(write_long(writer.open(lease)) for lease in leases))
    for lease in leases:
        assert (await store.get(lease.run.id)).last_seq == 53


async def test_a_writer_that_is_behind_with_long_events_makes_its_producer_wait_sooner(
    store: StoreClient,
) -> None:
    lease = (await store.create(worker_id="w1")).lease
    run_log = LogWriter(store.runs, store.signer).open(lease)

    async def write_for_ever() -> None:
        while True:
            await run_log.add(event(payload_json=json.dumps({"text": "x" * 60_000})))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(write_for_ever(), 0.5)
    assert run_log._pending_bytes < 5_000_000


async def test_a_writer_that_is_behind_makes_its_producer_wait(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    run_log = LogWriter(store.runs, store.signer).open(lease)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await write_run(run_log, 5_000)
    assert len(run_log._pending) == 1_000


@pytest.mark.parametrize("told", [True, False])
async def test_a_task_is_done_for_the_next_attempt_only_with_the_event_that_says_so(
    store: StoreClient, told: bool
) -> None:
    """An attempt may be stopped between a task's output and the event of its end."""
    lease = (await store.create(worker_id="w1")).lease
    async with writing(store) as writer:
        run_log = writer.open(lease)
        run_log.checkpoint(run_store_pb2.TaskCheckpoint(task_index=0, output=b"{}"))
        if told:
            await run_log.add(event("task.completed", '{"index": 0}'))
        queued = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_QUEUED)
        await run_log.end(event("run.queued"), queued)
    worker = Attached(store, "w2")
    await worker.say(free_slots=1, hello=True)
    assert bool((await worker.lease()).checkpoints) == told
