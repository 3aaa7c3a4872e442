"""Runs, leases and logs in the store, over real gRPC and a real Postgres."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration

from crewmesh.common.errors import error_from_rpc
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import agent_pb2, run_pb2, run_store_pb2
from crewmesh_store.runs import follower, servicer
from tests.conftest import until
from tests.integration.conftest import (
    StoreClient,
    append,
    ending,
    event,
    serving_store,
)

_LISTENERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND query = 'LISTEN crewmesh'
"""
SUCCEEDED, QUEUED = run_pb2.RUN_STATUS_SUCCEEDED, run_pb2.RUN_STATUS_QUEUED


async def test_a_run_is_leased_to_its_creator_when_nothing_waits(store: StoreClient) -> None:
    created = await store.create(worker_id="w1")
    assert created.lease.epoch == 1
    assert created.lease.next_seq == 3
    assert created.run.status == run_pb2.RUN_STATUS_RUNNING
    assert [e.type for e in await store.events(created.run.id)] == ["run.queued", "run.started"]


async def test_a_run_is_queued_behind_one_that_waits(store: StoreClient) -> None:
    await store.create()
    created = await store.create(worker_id="w1")
    assert not created.HasField("lease")
    assert created.run.status == QUEUED


async def test_one_idempotency_key_sent_50_times_at_once_makes_one_run(store: StoreClient) -> None:
    answers = await asyncio.gather(*(store.create(idempotency_key="k") for _ in range(50)))
    assert len({answer.run.id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    listed = await store.runs.ListRuns(agent_pb2.ListRunsRequest(), metadata=store.person)
    assert len(listed.runs) == 1


async def test_an_idempotency_key_is_refused_for_another_request(store: StoreClient) -> None:
    await store.create(idempotency_key="k", inputs_json='{"a": 1}')
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.create(idempotency_key="k", inputs_json='{"a": 2}')
    assert raised.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert error_from_rpc(raised.value).reason == "IDEMPOTENCY_KEY_REUSED"


async def test_a_batch_sent_twice_is_stored_once_and_acknowledged_twice(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    batch = append(lease, 3, event(), event())
    assert await store.append(batch) == ["STORED"]
    assert await store.append(batch) == ["STORED"]
    assert [e.seq for e in await store.events(lease.run.id)] == [1, 2, 3, 4]
    end = ending(lease, 5)
    assert await store.append(end) == ["STORED"]
    assert await store.append(end) == ["STORED"]
    assert (await store.get(lease.run.id)).last_seq == 5


async def test_a_gap_in_the_numbers_is_refused(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    assert await store.append(append(lease, 4)) == ["OUT_OF_ORDER"]


async def test_a_stale_epoch_is_refused_and_harms_no_other_run_of_the_call(
    store: StoreClient,
) -> None:
    lost = (await store.create(worker_id="w1")).lease
    held = (await store.create(worker_id="w1")).lease
    lost.epoch += 1
    assert await store.append(append(lost, 3), append(held, 3)) == ["LEASE_LOST", "STORED"]
    assert len(await store.events(lost.run.id)) == 2
    assert len(await store.events(held.run.id)) == 3


async def test_nothing_is_appended_after_the_end(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    assert await store.append(ending(lease, 3)) == ["STORED"]
    assert await store.append(append(lease, 4)) == ["LEASE_LOST"]


async def test_the_end_is_stored_with_its_event(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    usage = run_pb2.Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7, model_calls=1)
    end = append(
        lease,
        3,
        event("task.started", '{"index": 0}', task="greet", agent="Host"),
        event("task.completed", '{"index": 0, "output": "hi"}', task="greet", agent="Host"),
        event("run.succeeded"),
        status=SUCCEEDED,
        output="hi",
        output_json='{"a": 1}',
    )
    end.model_calls.add(event=1, model="m", prompt_tokens=5, completion_tokens=2, total_tokens=7)
    usage.unpriced_calls = 1
    assert await store.append(end) == ["STORED"]
    run = await store.get(lease.run.id)
    assert (run.status, run.output, run.output_json) == (SUCCEEDED, "hi", '{"a": 1}')
    assert run.usage == usage
    assert run.HasField("finished_at")
    assert [(t.name, t.agent, t.status, t.output) for t in run.tasks] == [
        ("greet", "Host", "completed", "hi")
    ]


def test_the_state_machine_is_the_table_and_nothing_else(database_url: str, tmp_path: Path) -> None:
    legal = {
        ("queued", "running"),
        ("queued", "cancelled"),
        *(("running", to) for to in ("succeeded", "failed", "cancelled", "timed_out")),
        ("running", "queued"),
        ("running", "waiting"),
        *(("waiting", to) for to in ("queued", "cancelled", "timed_out")),
    }

    async def migrated() -> None:
        async with serving_store(database_url, tmp_path):
            pass

    asyncio.run(migrated())
    with psycopg.connect(database_url, autocommit=True) as connection:
        org = connection.execute("SELECT id FROM orgs").fetchone()
        statuses = [
            row[0]
            for row in connection.execute("SELECT unnest(enum_range(NULL::run_status))::text")
        ]
        assert len(statuses) == 7
        for before, after in itertools.permutations(statuses, 2):
            run = uuid.uuid4()
            connection.execute(
                "INSERT INTO runs (id, org_id, crew, crew_version, status, inputs, max_attempts,"
                " priority, timeout_seconds, created_by, last_seq)"
                " VALUES (%s, %s, 'c', '1', %s, '{}', 1, 0, 1, 'me', 1)",
                (run, org and org[0], before),
            )
            try:
                connection.execute("UPDATE runs SET status = %s WHERE id = %s", (after, run))
                allowed = True
            except psycopg.errors.CheckViolation:
                allowed = False
            assert allowed == ((before, after) in legal), (before, after)


async def test_a_watcher_gets_history_then_live_each_once_and_in_order(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    last = 300

    async def write() -> None:
        for seq in range(3, last):
            await store.append(append(lease, seq))
        await store.append(ending(lease, last))

    async def watch_from(after_seq: int, when_seq: int) -> list[int]:
        async def reached() -> bool:
            return (await store.get(lease.run.id)).last_seq >= when_seq

        await until(reached)
        return [e.seq for e in await store.watch(lease.run.id, after_seq)]

    starts = [(0, 0), (0, 50), (10, 90), (150, 150), (200, 120), (0, 299)]
    results = await asyncio.gather(write(), *(watch_from(*start) for start in starts))
    for (after_seq, _), seqs in zip(starts, results[1:], strict=True):
        assert seqs == list(range(after_seq + 1, last + 1))


async def test_watching_an_ended_run_from_its_end_sends_nothing(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    await store.append(ending(lease, 3))
    assert await store.watch(lease.run.id, 3) == []
    assert [e.seq for e in await store.watch(lease.run.id, 1)] == [2, 3]


async def test_a_watcher_that_is_slow_still_gets_every_event(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    call = store.runs.WatchRun(
        agent_pb2.WatchRunRequest(run_id=lease.run.id), metadata=store.person
    )
    first = await anext(aiter(call))
    for seq in range(3, 203):
        await store.append(append(lease, seq, event(payload_json='{"x": "' + "y" * 2000 + '"}')))
    await store.append(ending(lease, 203))
    seqs = [e.seq for e in first.events]
    async for response in call:
        seqs.extend(e.seq for e in response.events)
    assert seqs == list(range(1, 204))


async def test_a_log_larger_than_a_message_is_watched_and_listed_in_parts(
    store: StoreClient,
) -> None:
    lease = (await store.create(worker_id="w1")).lease
    noise = json.dumps({"text": "x" * 60_000})
    for first in range(3, 303, 100):
        await store.append(append(lease, first, *(event(payload_json=noise) for _ in range(100))))
    await store.append(ending(lease, 303))
    assert [e.seq for e in await store.watch(lease.run.id)] == list(range(1, 304))
    listed: list[int] = []
    while True:
        request = agent_pb2.ListRunEventsRequest(
            run_id=lease.run.id, after_seq=len(listed), page_size=1000
        )
        page = await store.runs.ListRunEvents(request, metadata=store.person)
        listed.extend(event.seq for event in page.events)
        if not page.more:
            break
        assert 0 < len(page.events) < 303
    assert listed == list(range(1, 304))


async def test_a_watcher_of_one_replica_sees_what_is_appended_through_another(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        serving_store(database_url, tmp_path) as one,
        serving_store(database_url, tmp_path) as other,
    ):
        lease = (await one.create(worker_id="w1")).lease
        watching = asyncio.create_task(other.watch(lease.run.id))
        for seq in range(3, 30):
            await one.append(append(lease, seq))
        await one.append(ending(lease, 30))
        assert [e.seq for e in await watching] == list(range(1, 31))


async def test_a_watcher_whose_wake_up_got_lost_is_found(
    store: StoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servicer.RunStoreServicer, "_announce", lambda *_: None)
    lease = (await store.create(worker_id="w1")).lease
    request = agent_pb2.GetRunRequest(run_id=lease.run.id, wait=Duration(seconds=60))
    waiting = store.runs.GetRun(request, metadata=store.person)
    watching = asyncio.create_task(store.watch(lease.run.id))
    await store.append(append(lease, 3))
    await store.append(ending(lease, 4))
    assert [event.seq for event in await watching] == [1, 2, 3, 4]
    assert (await waiting).run.status == SUCCEEDED


async def test_replicas_wake_each_others_watchers_without_waiting_for_a_look(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_LOOK_SECONDS", 3600.0)
    async with (
        serving_store(database_url, tmp_path) as one,
        serving_store(database_url, tmp_path) as other,
    ):

        async def both_listen() -> bool:
            with psycopg.connect(database_url) as connection:
                row = connection.execute(_LISTENERS).fetchone()
            return row == (2,)

        await until(both_listen)
        lease = (await one.create(worker_id="w1")).lease
        request = agent_pb2.WatchRunRequest(run_id=lease.run.id)
        watching = aiter(other.runs.WatchRun(request, metadata=other.person))
        seen = [event.seq for event in (await anext(watching)).events]
        waiting = one.runs.GetRun(
            agent_pb2.GetRunRequest(run_id=lease.run.id, wait=Duration(seconds=60)),
            metadata=one.person,
        )
        for seq in range(3, 20):
            await one.append(append(lease, seq))
            while seen[-1] < seq:
                seen += [event.seq for event in (await anext(watching)).events]
        # More than a wake-up brings: the watcher reads them itself.
        await one.append(append(lease, 20, *[event() for _ in range(300)]))
        while seen[-1] < 319:
            seen += [event.seq for event in (await anext(watching)).events]
        await other.append(ending(lease, 320))
        assert (await waiting).run.status == SUCCEEDED
        assert seen == list(range(1, 320))


async def test_waiting_for_a_run_answers_when_it_ends(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    request = agent_pb2.GetRunRequest(run_id=lease.run.id, wait=Duration(seconds=30))
    waiting = store.runs.GetRun(request, metadata=store.person)
    await store.append(append(lease, 3))
    assert not waiting.done()
    await store.append(ending(lease, 4))
    assert (await waiting).run.status == SUCCEEDED


async def test_waiting_for_a_run_ends_with_the_time(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    request = agent_pb2.GetRunRequest(run_id=lease.run.id, wait=Duration(nanos=50_000_000))
    answer = await store.runs.GetRun(request, metadata=store.person)
    assert answer.run.status == run_pb2.RUN_STATUS_RUNNING


class Attached:
    """A worker attached to the store, driven by the test, that repeats what it said last."""

    def __init__(self, store: StoreClient, worker_id: str) -> None:
        self.call = store.runs.AttachWorker(metadata=store.service)
        self.worker_id = worker_id
        self._said = run_store_pb2.AttachWorkerRequest()
        self._writing = asyncio.Lock()
        self._repeating: asyncio.Task[None] | None = None

    async def say(
        self,
        free_slots: int,
        leases_received: int = 0,
        *,
        hello: bool = False,
        draining: bool = False,
        at_us: int = 0,
    ) -> None:
        if hello:
            greeting = run_store_pb2.WorkerHello(worker_id=self.worker_id, slots=free_slots)
            await self._write(run_store_pb2.AttachWorkerRequest(hello=greeting))
        capacity = run_store_pb2.WorkerCapacity(
            free_slots=free_slots,
            leases_received=leases_received,
            draining=draining,
            sent_at_us=at_us,
        )
        self._said = run_store_pb2.AttachWorkerRequest(capacity=capacity)
        await self._write(self._said)
        if self._repeating is None:
            self._repeating = asyncio.create_task(self._repeat())
            self.call.add_done_callback(lambda _: self._repeating.cancel())

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            await self._write(self._said)

    async def _write(self, request: run_store_pb2.AttachWorkerRequest) -> None:
        async with self._writing:
            await self.call.write(request)

    async def lease(self) -> run_store_pb2.Lease:
        message = await self.call.read()
        assert message.HasField("lease")
        return message.lease


async def test_queued_runs_are_pushed_as_slots_become_free_highest_priority_first(
    store: StoreClient,
) -> None:
    ids = [(await store.create(priority=priority)).run.id for priority in (0, 5, 0)]
    worker = Attached(store, "w1")
    await worker.say(free_slots=1, hello=True)
    first = await worker.lease()
    await worker.say(free_slots=1, leases_received=1)
    second = await worker.lease()
    assert [first.run.id, second.run.id] == [ids[1], ids[0]]
    assert (await store.get(ids[2])).status == QUEUED
    # Told of no further slot, the store must not push: a second worker gets the third.
    other = Attached(store, "w2")
    await other.say(free_slots=1, hello=True)
    assert (await other.lease()).run.id == ids[2]


async def test_a_lease_says_when_its_worker_had_last_spoken(store: StoreClient) -> None:
    await store.create()
    worker = Attached(store, "w1")
    await worker.say(free_slots=1, hello=True, at_us=17)
    assert (await worker.lease()).asked_at_us == 17


async def test_a_worker_that_drains_is_told_when_no_lease_can_follow(store: StoreClient) -> None:
    ids = [(await store.create()).run.id for _ in range(3)]
    worker = Attached(store, "w1")
    await worker.say(free_slots=2, hello=True)
    leases = [await worker.lease() for _ in range(2)]
    await worker.say(free_slots=0, leases_received=2, draining=True)
    assert (await worker.call.read()).HasField("no_more_leases")
    for lease in leases:
        await store.append(append(lease, lease.next_seq, event("run.queued"), status=QUEUED))
    other = Attached(store, "w2")
    await other.say(free_slots=4, hello=True)
    again = [await other.lease() for _ in range(3)]
    assert [lease.run.id for lease in again] == ids
    assert {lease.run.failures for lease in again} == {0}


async def test_leases_are_spread_over_the_workers_with_room(store: StoreClient) -> None:
    workers = [Attached(store, name) for name in ("w1", "w2")]
    for worker in workers:
        await worker.say(free_slots=4, hello=True)
    for _ in range(8):
        await store.create()
    leases = [await worker.lease() for worker in workers for _ in range(4)]
    assert len({lease.run.id for lease in leases}) == 8


async def test_an_organisation_with_a_thousand_runs_waiting_delays_no_other(
    store: StoreClient, database_url: str
) -> None:
    await asyncio.gather(*(store.create() for _ in range(1000)))
    worker = Attached(store, "w1")
    await worker.say(free_slots=2, hello=True)
    running = [await worker.lease() for _ in range(2)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("INSERT INTO orgs (name) VALUES ('b') RETURNING id").fetchone()
    assert row is not None
    store.org = Identity("agent_worker", str(row[0]), "somebody", "developer")
    late = [(await store.create()).run.id for _ in range(2)]
    # Its first run waits for the end of one run, no longer.
    leased = []
    for received, lease in enumerate(running, start=2):
        await store.append(ending(lease, lease.next_seq))
        await worker.say(free_slots=1, leases_received=received)
        leased.append((await worker.lease()).run.id)
        await worker.say(free_slots=0, leases_received=received + 1)
    assert leased[0] == late[0]


async def test_limits_of_an_organisation_and_of_a_crew_hold(
    store: StoreClient, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE orgs SET max_running = 3")
        connection.execute(
            "INSERT INTO crew_limits (org_id, crew, max_running) SELECT id, 'limited', 1 FROM orgs"
        )
    limited = [(await store.create(worker_id="w1", crew="limited")).run.id for _ in range(3)]
    free = [(await store.create(worker_id="w1", crew="free")).run.id for _ in range(3)]
    worker = Attached(store, "w1")
    await worker.say(free_slots=10, hello=True)
    leases = [await worker.lease() for _ in range(3)]
    assert [lease.run.id for lease in leases] == [limited[0], free[0], free[1]]
    await store.append(ending(leases[1], leases[1].next_seq))
    await worker.say(free_slots=8, leases_received=3)
    assert (await worker.lease()).run.id == free[2]
    assert (await store.get(limited[1])).status == QUEUED


async def test_an_expired_lease_goes_back_to_the_queue_until_no_attempt_is_left(
    database_url: str, tmp_path: Path
) -> None:
    async with serving_store(database_url, tmp_path, lease_seconds=1) as store:
        lease = (await store.create(worker_id="w1", max_attempts=2)).lease
        worker = Attached(store, "w2")
        await worker.say(free_slots=1, hello=True)
        again = await worker.lease()
        assert (again.run.id, again.epoch, again.run.attempt) == (lease.run.id, 3, 2)
        assert await store.append(append(lease, lease.next_seq)) == ["LEASE_LOST"]
        events = await store.watch(lease.run.id)
        assert [e.type for e in events] == [
            "run.queued",
            "run.started",
            "run.queued",
            "run.started",
            "run.failed",
        ]
        run = await store.get(lease.run.id)
        assert run.error.code == "attempts_exhausted"


async def test_each_failure_makes_a_run_wait_longer_for_its_next_attempt(
    store: StoreClient, database_url: str
) -> None:
    worker = Attached(store, "w1")
    await worker.say(free_slots=1, hello=True)
    run = (await store.create(max_attempts=4)).run.id
    fault = run_pb2.RunError(code="crew_failed", message="a fault")
    with psycopg.connect(database_url, autocommit=True) as connection:
        for failures, pause in enumerate([0, 1, 2], start=1):
            lease = await worker.lease()
            assert (lease.run.id, lease.run.attempt) == (run, failures)
            before = connection.execute("SELECT now()").fetchone()
            queued = event("run.queued")
            await store.append(append(lease, lease.next_seq, queued, status=QUEUED, error=fault))
            row = connection.execute(
                "SELECT available_at - %s::interval BETWEEN %s AND now(), failures"
                " FROM runs WHERE id = %s",
                [timedelta(seconds=pause), *(before or ()), run],
            ).fetchone()
            assert row == (True, failures)
            await worker.say(free_slots=1, leases_received=failures)
        pauses = connection.execute(
            "SELECT extract(epoch FROM retry_delay(n)) FROM generate_series(1, 10) n"
        ).fetchall()
    assert [int(row[0]) for row in pauses] == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_renewal_tells_what_is_lost_and_what_is_to_be_cancelled(store: StoreClient) -> None:
    kept, cancelled, ended = [(await store.create(worker_id="w1")).lease for _ in range(3)]
    await store.append(ending(ended, 3))
    await store.runs.CancelRun(
        agent_pb2.CancelRunRequest(run_id=cancelled.run.id), metadata=store.person
    )
    refs = [
        run_store_pb2.LeaseRef(run_id=lease.run.id, epoch=lease.epoch)
        for lease in (kept, cancelled, ended)
    ]
    answer = await store.runs.RenewLeases(
        run_store_pb2.RenewLeasesRequest(worker_id="w1", leases=refs), metadata=store.service
    )
    assert [ref.run_id for ref in answer.lost] == [ended.run.id]
    assert [ref.run_id for ref in answer.cancelled] == [cancelled.run.id]


async def test_a_checkpoint_comes_with_the_next_lease(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    kept = run_store_pb2.TaskCheckpoint(task_index=0, output=b"done")
    batch = append(lease, 3, event("task.completed", '{"index": 0}'))
    batch.checkpoints.append(kept)
    await store.append(batch)
    await store.append(append(lease, 4, event("run.queued"), status=QUEUED))
    worker = Attached(store, "w2")
    await worker.say(free_slots=1, hello=True)
    assert list((await worker.lease()).checkpoints) == [kept]


async def test_a_queued_run_is_cancelled_at_once_and_again_without_harm(store: StoreClient) -> None:
    run = (await store.create()).run
    request = agent_pb2.CancelRunRequest(run_id=run.id, reason="no need")
    for _ in range(2):
        answer = await store.runs.CancelRun(request, metadata=store.person)
        assert answer.run.status == run_pb2.RUN_STATUS_CANCELLED
    assert [e.type for e in await store.watch(run.id)] == ["run.queued", "run.cancelled"]


@pytest.mark.parametrize("status", [QUEUED, run_pb2.RUN_STATUS_WAITING])
async def test_a_run_that_was_to_be_cancelled_neither_waits_nor_queues_again(
    store: StoreClient, status: run_pb2.RunStatus
) -> None:
    lease = (await store.create(worker_id="w1")).lease
    watching = asyncio.create_task(store.watch(lease.run.id))
    await store.runs.CancelRun(
        agent_pb2.CancelRunRequest(run_id=lease.run.id), metadata=store.person
    )
    batch = append(lease, 3, event("log"), status=status)
    for _ in range(2):
        assert await store.append(batch) == ["STORED"]
    assert [e.type for e in await watching] == [
        "run.queued",
        "run.started",
        "log",
        "run.cancelled",
    ]


async def test_a_run_that_was_to_be_cancelled_does_not_fail_with_its_last_runner(
    store: StoreClient,
) -> None:
    lease = (await store.create(worker_id="w1")).lease
    watching = asyncio.create_task(store.watch(lease.run.id))
    await store.runs.CancelRun(
        agent_pb2.CancelRunRequest(run_id=lease.run.id), metadata=store.person
    )
    batch = append(
        lease,
        3,
        event("log"),
        event("run.failed"),
        status=run_pb2.RUN_STATUS_FAILED,
        error=run_pb2.RunError(code="attempts_exhausted", message="the runner died"),
    )
    for _ in range(2):
        assert await store.append(batch) == ["STORED"]
    events = await watching
    assert [e.type for e in events] == ["run.queued", "run.started", "log", "run.cancelled"]
    assert [e.seq for e in events] == [1, 2, 3, 4]
    run = await store.get(lease.run.id)
    assert (run.status, run.error.code) == (run_pb2.RUN_STATUS_CANCELLED, "cancelled")


async def test_the_worker_is_told_to_cancel_a_running_run(store: StoreClient) -> None:
    worker = Attached(store, "w1")
    await worker.say(free_slots=1, hello=True)
    run = (await store.create()).run
    lease = await worker.lease()
    await store.runs.CancelRun(agent_pb2.CancelRunRequest(run_id=run.id), metadata=store.person)
    message = await worker.call.read()
    assert (message.cancel.run_id, message.cancel.epoch) == (run.id, lease.epoch)


async def test_answering_a_run_that_does_not_wait_is_refused(store: StoreClient) -> None:
    run = (await store.create()).run
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.runs.RespondToRun(
            agent_pb2.RespondToRunRequest(run_id=run.id, text="yes"), metadata=store.person
        )
    assert error_from_rpc(raised.value).reason == "RUN_NOT_WAITING"


async def test_an_answer_queues_the_waiting_run(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    waiting = run_pb2.RUN_STATUS_WAITING
    await store.append(append(lease, 3, event("input.requested"), status=waiting))
    answer = await store.runs.RespondToRun(
        agent_pb2.RespondToRunRequest(run_id=lease.run.id, text="yes", approve=True),
        metadata=store.person,
    )
    assert answer.run.status == QUEUED
    assert (await store.events(lease.run.id))[-1].type == "input.received"


async def ask(store: StoreClient, lease: run_store_pb2.Lease, seq: int) -> None:
    waiting = run_pb2.RUN_STATUS_WAITING
    assert await store.append(append(lease, seq, event("input.requested"), status=waiting)) == [
        "STORED"
    ]


async def answer(
    store: StoreClient, run: str, text: str, question_seq: int
) -> agent_pb2.RespondToRunResponse:
    request = agent_pb2.RespondToRunRequest(run_id=run, text=text, question_seq=question_seq)
    return await store.runs.RespondToRun(request, metadata=store.person)


async def test_an_answer_that_names_its_question_is_used_once_and_for_no_other(
    store: StoreClient,
) -> None:
    worker = Attached(store, "w1")
    lease = (await store.create(worker_id="w1")).lease
    await ask(store, lease, 3)
    for _ in range(2):
        assert (await answer(store, lease.run.id, "longer", 3)).run.status == QUEUED
    await worker.say(free_slots=1, hello=True)
    again = await worker.lease()
    assert again.answer.text == "longer"
    await ask(store, again, again.next_seq)

    # The first answer comes late once more: it is acknowledged, and answers nothing else.
    late = await answer(store, lease.run.id, "longer", 3)
    assert late.run.status == run_pb2.RUN_STATUS_WAITING
    for text, question_seq in (("shorter", 3), ("longer", again.next_seq + 1)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await answer(store, lease.run.id, text, question_seq)
        assert error_from_rpc(raised.value).reason == "RUN_NOT_WAITING"
    assert (await answer(store, lease.run.id, "", again.next_seq)).run.status == QUEUED
    received = [e for e in await store.events(lease.run.id) if e.type == "input.received"]
    assert len(received) == 2


async def test_another_organisation_sees_nothing(store: StoreClient) -> None:
    run = (await store.create()).run
    stranger = IdentitySigner(store.signer.secret, "agent_worker").metadata(
        Identity("agent_worker", str(uuid.uuid4()), "somebody", "owner")
    )
    stub = store.runs
    calls = [
        stub.GetRun(agent_pb2.GetRunRequest(run_id=run.id), metadata=stranger),
        stub.CancelRun(agent_pb2.CancelRunRequest(run_id=run.id), metadata=stranger),
        stub.ListRunEvents(agent_pb2.ListRunEventsRequest(run_id=run.id), metadata=stranger),
        stub.RespondToRun(agent_pb2.RespondToRunRequest(run_id=run.id), metadata=stranger),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    listed = await stub.ListRuns(agent_pb2.ListRunsRequest(), metadata=stranger)
    assert not listed.runs


@pytest.mark.parametrize("metadata", [(), (("crewmesh-identity", "forged"),)])
async def test_a_caller_without_the_meshs_signature_is_refused(
    store: StoreClient, metadata: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.runs.ListRuns(agent_pb2.ListRunsRequest(), metadata=metadata)
    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_person_cannot_make_a_workers_calls(store: StoreClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.runs.AppendEvents(run_store_pb2.AppendEventsRequest(), metadata=store.person)
    assert raised.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_runs_are_listed_newest_first_in_pages_that_neither_skip_nor_repeat(
    store: StoreClient,
) -> None:
    ids = [(await store.create(session_id="s" if n % 2 else "")).run.id for n in range(7)]
    seen: list[str] = []
    token = ""
    while True:
        page = await store.runs.ListRuns(
            agent_pb2.ListRunsRequest(page_size=3, page_token=token), metadata=store.person
        )
        seen.extend(run.id for run in page.runs)
        token = page.next_page_token
        if not token:
            break
    assert seen == ids[::-1]
    filtered = await store.runs.ListRuns(
        agent_pb2.ListRunsRequest(session_id="s", status=QUEUED, crew="hello"),
        metadata=store.person,
    )
    assert [run.id for run in filtered.runs] == ids[1::2][::-1]


async def test_the_fleet_is_told_with_the_queue_of_the_organisation(store: StoreClient) -> None:
    worker = Attached(store, "w1")
    await worker.say(free_slots=2, hello=True)
    leases = [(await store.create(worker_id="w1")).lease for _ in range(2)]
    waiting, wait = run_pb2.RUN_STATUS_WAITING, Duration(seconds=60)
    asking = append(leases[0], 3, event("input.requested"), status=waiting, wait=wait)
    assert await store.append(asking) == ["STORED"]
    await worker.say(free_slots=0)
    queued = await store.create(priority=0)

    request = run_store_pb2.ListWorkersRequest()
    fleet = await store.runs.ListWorkers(request, metadata=store.person)

    (shown,) = fleet.workers
    assert (shown.id, shown.slots, shown.running) == ("w1", 2, 1)
    assert timedelta(0) <= shown.lease_age.ToTimedelta() < fleet.lease_ttl.ToTimedelta()
    assert (fleet.queue.queued, fleet.queue.running, fleet.queue.waiting) == (1, 1, 1)
    assert fleet.queue.oldest_queued_at == queued.run.created_at
    stranger = replace(store.org, org_id=str(uuid.uuid4()))
    other = await store.runs.ListWorkers(request, metadata=store.signer.metadata(stranger))
    assert other.queue == run_store_pb2.Queue()


async def test_a_worker_that_is_gone_is_no_part_of_the_fleet(
    store: StoreClient, database_url: str
) -> None:
    async def fleet() -> list[str]:
        request = run_store_pb2.ListWorkersRequest()
        answer = await store.runs.ListWorkers(request, metadata=store.person)
        return [worker.id for worker in answer.workers]

    async def nobody_is_left() -> bool:
        return await fleet() == []

    lost, drained = Attached(store, "lost"), Attached(store, "drained")
    for worker in (lost, drained):
        await worker.say(free_slots=1, hello=True)
        await worker.call.initial_metadata()
    assert await fleet() == ["drained", "lost"]
    await drained.say(free_slots=1, draining=True)
    assert (await drained.call.read()).HasField("no_more_leases")
    lost.call.cancel()
    drained.call.cancel()
    await until(nobody_is_left)

    for _ in range(2):
        lost.call.cancel()
        lost = Attached(store, "lost")
        await lost.say(free_slots=1, hello=True)
        await lost.call.initial_metadata()
    # The first stream's end doesn't concern who has opened another.
    await asyncio.sleep(servicer._REATTACH_SECONDS + 0.2)
    assert await fleet() == ["lost"]

    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE workers SET last_seen_at = now() - interval '25 hours'")
        new = Attached(store, "new")
        await new.say(free_slots=1, hello=True)
        await new.call.initial_metadata()
        assert connection.execute("SELECT id FROM workers").fetchall() == [("new",)]


async def test_an_event_that_is_not_json_is_refused_and_stores_nothing(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.append(append(lease, 3, event(payload_json="{not json")))
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert len(await store.events(lease.run.id)) == 2
