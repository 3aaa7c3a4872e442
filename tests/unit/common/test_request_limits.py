"""How often one may ask, at one edge of the mesh; the store and the clock are fakes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from crewmesh.common import request_limits
from crewmesh.common.authentication import Caller
from crewmesh.common.errors import ExhaustedError
from crewmesh.common.identity import Identity
from crewmesh.common.request_limits import RequestLimiter, Standing, network_of, require
from crewmesh.v1 import identity_pb2, limit_pb2

FAILURE = grpc.aio.AioRpcError(
    grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "gone"
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """What all edges share, by the clock that they share here, too."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.whole_at: Counter[str] = Counter()
        self.calls: list[limit_pb2.CountRequestsRequest] = []
        self.down = False

    async def CountRequests(self, request: Any, **_: Any) -> Any:
        await asyncio.sleep(0)
        if self.down:
            raise FAILURE
        self.calls.append(request)
        for count in request.counts:
            whole_at = max(self.whole_at[count.subject], self.clock.now)
            self.whole_at[count.subject] = whole_at + count.seconds
        return limit_pb2.CountRequestsResponse(
            seconds_until_whole=[self.whole_at[c.subject] - self.clock.now for c in request.counts]
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(request_limits, "_LINGER_SECONDS", 0.001)
    monkeypatch.setattr(request_limits, "_RETRY_SECONDS", 0.001)
    return Store(clock)


@contextlib.asynccontextmanager
async def edge(store: Store, limit: int) -> AsyncIterator[RequestLimiter]:
    limiter = RequestLimiter(
        store,  # type: ignore[arg-type]
        lambda: (),
        of_caller=limit,
        of_address=limit,
        clock=store.clock,
    )
    yield limiter
    await limiter.close()


def caller(key: str = "k", user: str = "u", own: int = 0) -> Caller:
    return Caller(
        identity_pb2.Principal(max_requests_per_minute=own),
        Identity("api_gateway", "org", user, api_key_id=key),
    )


async def taken(limiter: RequestLimiter, times: int, who: Caller | None = None) -> int:
    standings = [await limiter.take_for(who or caller()) for _ in range(times)]
    return sum(s is not None and s.retry_after_seconds == 0 for s in standings)


async def told(limiter: RequestLimiter) -> None:
    assert limiter._telling is not None
    await limiter._telling


async def test_a_limit_is_a_minutes_and_time_gives_back(store: Store, clock: Clock) -> None:
    async with edge(store, 120) as limiter:
        assert await limiter.take_for(caller()) == Standing("key", 120, 119, 0.5)
        assert await taken(limiter, 200) == 119
        refused = await limiter.take_for(caller())
        assert refused == Standing("key", 120, 0, 60.0, 0.5)
        clock.now += 0.5
        assert await taken(limiter, 2) == 1
        clock.now += 59.75
        assert await taken(limiter, 200) == 119
        await told(limiter)
        clock.now += 1000
        assert await taken(limiter, 200) == 120


async def test_who_is_refused_is_told_when_to_come_again(store: Store) -> None:
    async with edge(store, 6) as limiter:
        await taken(limiter, 6)
        with pytest.raises(ExhaustedError, match=r"with this API key: try again in 10 s") as raised:
            require(await limiter.take_for(caller()))
    assert raised.value.reason == "TOO_MANY_REQUESTS"
    assert raised.value.retry_after_seconds == 10


async def test_each_key_person_and_address_has_its_own(store: Store) -> None:
    async with edge(store, 3) as limiter:
        for who in (caller("a"), caller("b"), caller("", "a"), caller("", "b")):
            assert await taken(limiter, 5, who) == 3
        for address in ("192.0.2.1", "192.0.2.2", ""):
            standings = [await limiter.take_for_address(address) for _ in range(4)]
            assert [s.retry_after_seconds > 0 for s in standings if s] == [False] * 3 + [True]


@pytest.mark.parametrize(("own", "all_in_all"), [(0, 5), (2, 2), (9, 5)])
async def test_an_organisation_can_only_lower_it(store: Store, own: int, all_in_all: int) -> None:
    async with edge(store, 5) as limiter:
        assert await taken(limiter, 12, caller(own=own)) == all_in_all


async def test_nothing_limits_where_nothing_is_set(store: Store) -> None:
    async with edge(store, 0) as limiter:
        assert await limiter.take_for(caller()) is None
        assert await limiter.take_for_address("192.0.2.1") is None
        assert await taken(limiter, 9, caller(own=4)) == 4


async def test_the_store_is_told_of_many_requests_at_once(store: Store) -> None:
    async with edge(store, 1_000_000) as limiter:
        for n in range(4000):
            await limiter.take_for(caller(str(n % 10)))
        await told(limiter)
    assert sum(c.seconds for call in store.calls for c in call.counts) == pytest.approx(0.24)
    assert len(store.calls) == 1


async def test_no_call_has_more_counts_than_the_store_takes(store: Store) -> None:
    async with edge(store, 1_000_000) as limiter:
        for n in range(2500):
            await limiter.take_for_address(f"10.0.{n // 256}.{n % 256}")
        await told(limiter)
    assert sorted(len(call.counts) for call in store.calls) == [500, 1000, 1000]


@pytest.mark.parametrize("limit", [1, 30, 100, 1000])
@pytest.mark.parametrize("edges", [2, 3])
async def test_edges_together_let_in_hardly_more_than_one(
    store: Store, clock: Clock, limit: int, edges: int
) -> None:
    slack = (edges - 1) * max(1, limit // 100)
    async with contextlib.AsyncExitStack() as stack:
        limiters = [await stack.enter_async_context(edge(store, limit)) for _ in range(edges)]
        in_all = sum(await asyncio.gather(*(taken(one, limit) for one in limiters)))
        assert limit <= in_all <= limit + slack
        clock.now += 30
        in_all += sum(await asyncio.gather(*(taken(one, limit) for one in limiters)))
        assert limit + limit // 2 <= in_all + slack
        assert in_all <= limit + limit / 2 + slack


async def test_while_the_store_is_away_each_edge_keeps_to_the_limit_alone(
    store: Store, clock: Clock
) -> None:
    store.down = True
    async with edge(store, 50) as one, edge(store, 50) as other:
        assert await taken(one, 80) == 50
        assert await taken(other, 80) == 50
        store.down = False
        await told(one)
        await told(other)
        # What was let in meanwhile is owed.
        clock.now += 59
        assert await taken(other, 1) == 0
        clock.now += 60
        assert await taken(other, 80) == 49


async def test_what_is_remembered_is_bounded_and_what_was_not_told_is_not_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "_MAX_REMEMBERED", 50)
    async with edge(store, 10) as limiter:
        for n in range(500):
            await limiter.take_for_address(f"10.0.{n // 256}.{n % 256}")
            await told(limiter)
            assert len(limiter._buckets) <= 50
    assert len(store.whole_at) == 500


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unknown", ""),
    ],
)
def test_an_address_counts_as_what_somebody_has_whole(address: str, network: str) -> None:
    assert network_of(address) == network
