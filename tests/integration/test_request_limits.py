"""Requests that several edges of the mesh let in, settled in a real store over a real Postgres."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import grpc
import psycopg
import pytest

from crewmesh.common.authentication import Caller
from crewmesh.common.identity import Identity
from crewmesh.common.request_limits import RequestLimiter
from crewmesh.v1 import identity_pb2
from crewmesh.v1.limit_pb2 import CountRequestsRequest, RequestCount
from crewmesh_store.database import Database
from crewmesh_store.limits.repository import LimitRepository
from tests.integration.conftest import StoreClient

SUBJECT = "key:k"


@contextlib.asynccontextmanager
async def edge(store: StoreClient, limit: int) -> AsyncIterator[RequestLimiter]:
    """An edge for which no time passes: Postgres' clock alone gives back."""
    limiter = RequestLimiter(
        store.limits, lambda: store.service, of_caller=limit, of_address=limit, clock=lambda: 1000.0
    )
    yield limiter
    await limiter.close()


async def taken(limiter: RequestLimiter, times: int) -> int:
    caller = Caller(
        identity_pb2.Principal(), Identity("api_gateway", "org", "user", api_key_id="k")
    )
    standings = [await limiter.take_for(caller) for _ in range(times)]
    return sum(s is not None and s.retry_after_seconds == 0 for s in standings)


async def count(store: StoreClient, **seconds_by_subject: float) -> list[float]:
    counts = [RequestCount(subject=s, seconds=n) for s, n in seconds_by_subject.items()]
    answer = await store.limits.CountRequests(
        CountRequestsRequest(counts=counts), metadata=store.service
    )
    return list(answer.seconds_until_whole)


def pass_time(database_url: str, seconds: float) -> None:
    """Have it passed for all that was counted."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE request_counts SET whole_at = whole_at - %s * interval '1 second'", [seconds]
        )


def rows(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT count(*) FROM request_counts").fetchone()
        assert found is not None
        return int(found[0])


@pytest.mark.parametrize("limit", [10, 2000])
async def test_two_edges_let_in_hardly_more_than_one(
    store: StoreClient, database_url: str, limit: int
) -> None:
    slack, began = max(1, limit // 100), time.monotonic()

    def given_back() -> float:
        return (time.monotonic() - began) * limit / 60 + 1

    async with edge(store, limit) as one, edge(store, limit) as other:
        in_all = sum(await asyncio.gather(taken(one, limit), taken(other, limit)))
        assert limit <= in_all <= limit + slack + given_back()
    pass_time(database_url, 30)
    async with edge(store, limit) as another:
        in_all += await taken(another, limit)
    assert limit * 1.5 - slack <= in_all <= limit * 1.5 + slack + given_back()


async def test_what_is_counted_adds_up_and_time_gives_it_back(
    store: StoreClient, database_url: str
) -> None:
    first = await count(store, a=10.0, b=0.5)
    assert first == pytest.approx([10.0, 0.5], abs=0.4)
    assert (await count(store, b=0.0, a=20.0))[1] == pytest.approx(30, abs=2)
    pass_time(database_url, 100)
    assert await count(store, a=3.0) == pytest.approx([3.0], abs=0.4)
    # What edges owe after they counted alone has an end.
    assert await count(store, a=10_000.0) == pytest.approx([120.0], abs=2)
    assert await count(store, c=10_000.0) == pytest.approx([120.0], abs=2)


async def test_counts_that_say_nothing_any_more_are_forgotten(
    store: StoreClient, database_url: str
) -> None:
    await count(store, a=10.0, b=50.0)
    pass_time(database_url, 20)
    database = Database(database_url, connections=2)
    await database.open()
    await LimitRepository(database).forget_request_counts()
    await database.close()
    assert rows(database_url) == 1


async def test_edges_that_count_the_same_subjects_at_once_do_not_lock_each_other(
    store: StoreClient,
) -> None:
    subjects = [f"s{n}" for n in range(200)]
    orders = [subjects, subjects[::-1]] * 10
    await asyncio.gather(*(count(store, **dict.fromkeys(order, 0.1)) for order in orders))
    assert min(await count(store, **dict.fromkeys(subjects, 0.0))) > 1


@pytest.mark.parametrize(
    "counts",
    [
        [RequestCount(subject=SUBJECT, seconds=1)] * 2,
        [RequestCount(subject=str(n), seconds=1) for n in range(1001)],
        [RequestCount(subject=SUBJECT, seconds=-1)],
        [RequestCount(subject=SUBJECT, seconds=float("nan"))],
        [RequestCount(subject=SUBJECT, seconds=float("inf"))],
    ],
)
async def test_counts_that_cannot_be_are_refused(
    store: StoreClient, database_url: str, counts: list[RequestCount]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.limits.CountRequests(
            CountRequestsRequest(counts=counts), metadata=store.service
        )
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert rows(database_url) == 0
