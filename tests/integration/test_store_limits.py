"""An organisation's limits in the store, over real gRPC and a real Postgres."""

from __future__ import annotations

import dataclasses

import grpc
import psycopg
import pytest

from crewmesh.common.errors import error_from_rpc
from crewmesh.common.identity import Identity
from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh.v1.limit_pb2 import CrewLimit, GetLimitsRequest, Limits, SetLimitsRequest
from crewmesh_store.runs import dispatch
from tests.integration.conftest import StoreClient, append, ending, event
from tests.integration.test_store_runs import Attached

MOST = Limits(max_queued=10_000)


async def set_limits(store: StoreClient, limits: Limits) -> Limits:
    request = SetLimitsRequest(limits=limits)
    return (await store.limits.SetLimits(request, metadata=store.person)).limits


async def get_limits(store: StoreClient) -> Limits:
    return (await store.limits.GetLimits(GetLimitsRequest(), metadata=store.person)).limits


@pytest.fixture
def slow_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is dispatched for having been looked for once more."""
    monkeypatch.setattr(dispatch, "_POLL_SECONDS", 3600.0)


async def test_limits_are_replaced_as_a_whole(store: StoreClient) -> None:
    assert await get_limits(store) == MOST
    limits = Limits(
        max_running=3,
        max_queued=7,
        crews=[CrewLimit(crew="a", max_running=1), CrewLimit(crew="b", max_running=2)],
        max_requests_per_minute=600,
    )
    assert await set_limits(store, limits) == limits
    assert await get_limits(store) == limits
    limits = Limits(max_queued=8, crews=[CrewLimit(crew="b", max_running=5)])
    assert await set_limits(store, limits) == limits
    assert await get_limits(store) == limits


async def test_limits_that_cannot_be_are_refused_and_change_nothing(store: StoreClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await set_limits(store, Limits(max_running=0, max_queued=0))
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    faults = error_from_rpc(raised.value).violations
    assert [fault.field for fault in faults] == ["max_running", "max_queued"]
    assert await get_limits(store) == MOST


@pytest.mark.parametrize("role", ["developer", "operator", "viewer"])
async def test_only_owners_and_admins_set_limits_and_all_may_see_them(
    store: StoreClient, role: str
) -> None:
    owner = store.org
    store.org = dataclasses.replace(owner, role=role)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await set_limits(store, Limits(max_queued=1))
    assert raised.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert await get_limits(store) == MOST
    store.org = dataclasses.replace(owner, role="admin")
    assert await set_limits(store, Limits(max_queued=1)) == Limits(max_queued=1)


async def test_limits_are_an_organisations_own(store: StoreClient, database_url: str) -> None:
    await set_limits(store, Limits(max_running=1, max_queued=1))
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("INSERT INTO orgs (name) VALUES ('b') RETURNING id").fetchone()
    assert row is not None
    store.org = Identity("agent_worker", str(row[0]), "somebody", "owner")
    assert await get_limits(store) == MOST


async def test_a_full_queue_refuses_and_takes_again_when_there_is_room(store: StoreClient) -> None:
    await set_limits(store, Limits(max_queued=2))
    for _ in range(2):
        await store.create()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.create()
    error = error_from_rpc(raised.value)
    assert (error.reason, error.retry_after_seconds) == ("QUEUE_FULL", 5)
    await set_limits(store, Limits(max_queued=3))
    assert (await store.create()).run.status == run_pb2.RUN_STATUS_QUEUED


async def test_higher_limits_start_what_waits_at_once(slow_poll: None, store: StoreClient) -> None:
    await set_limits(store, Limits(max_running=1, max_queued=10))
    ids = [(await store.create()).run.id for _ in range(3)]
    worker = Attached(store, "w1")
    await worker.say(free_slots=4, hello=True)
    assert (await worker.lease()).run.id == ids[0]
    await set_limits(store, Limits(max_running=3, max_queued=10))
    assert [(await worker.lease()).run.id for _ in range(2)] == ids[1:]


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_running=1, max_queued=10),
        Limits(max_queued=10, crews=[CrewLimit(crew="hello", max_running=1)]),
    ],
)
async def test_a_run_that_stops_running_makes_room_for_the_next_at_once(
    slow_poll: None, store: StoreClient, limits: Limits
) -> None:
    await set_limits(store, limits)
    ids = [(await store.create(worker_id="w1")).run.id for _ in range(3)]
    worker = Attached(store, "w1")
    await worker.say(free_slots=4, hello=True)
    ended = await worker.lease()
    await store.append(ending(ended, ended.next_seq))
    waiting = await worker.lease()
    asked = event("input.requested")
    await store.append(append(waiting, waiting.next_seq, asked, status=run_pb2.RUN_STATUS_WAITING))
    last: run_store_pb2.Lease = await worker.lease()
    assert [ended.run.id, waiting.run.id, last.run.id] == ids
