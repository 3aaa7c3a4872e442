"""How often one may ask: counted at each edge of the mesh, and settled with what all edges share.

Each subject (an API key, a person, a network address) has a minute. Under a limit of n requests a
minute, each takes 60/n seconds of it, which time gives back: the generic cell rate algorithm. Where
nothing of the minute is left, the request is refused, and takes nothing.

Nobody waits for the store: an edge counts on, and tells it a little later what it has let in; the
answer says what the other edges have. Before it has told, an edge lets in 1% of a limit at most
(one request at least). So all edges together let in a limit, what time gives back, and 1% for each
edge but the first. While the store can't be asked, each edge keeps to the limits alone.
"""

from __future__ import annotations

import asyncio
import contextvars
import ipaddress
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

import grpc
import structlog

from crewmesh.common.authentication import Caller, Metadata
from crewmesh.common.errors import ExhaustedError
from crewmesh.v1 import limit_pb2, limit_pb2_grpc

log = structlog.get_logger(__name__)

WINDOW_SECONDS: Final = 60.0
# Of a limit: what an edge lets in before it has told the store.
_UNTOLD_SHARE: Final = 0.01
# A little use is told this much later, with that of others.
_LINGER_SECONDS: Final = 1.0
_CALL_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 1.0
_COUNTS_PER_CALL: Final = 1_000
_MAX_REMEMBERED: Final = 20_000
# Sums of fractions of a second aren't exact.
_ROUNDING_SECONDS: Final = 1e-6
_IPV6_PREFIX: Final = 64


_WHOSE: Final = {
    "key": "with this API key",
    "user": "by you",
    "address": "without a known credential, from this network address",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What a subject has left of its limit, after a request that was just taken or refused.

    `kind` is key, user or address. All is given back after `reset_seconds`. A request that was
    refused may be tried again after `retry_after_seconds`, which is 0 for one that was taken.
    """

    kind: str
    limit: int
    remaining: int
    reset_seconds: float
    retry_after_seconds: float = 0.0


def require(standing: Standing | None) -> None:
    """Raise ExhaustedError for a request that was refused; None is one that nothing limits."""
    if standing is not None and standing.retry_after_seconds > 0:
        raise ExhaustedError(
            f"more than {standing.limit:,} requests in a minute {_WHOSE[standing.kind]}: "
            f"try again in {math.ceil(standing.retry_after_seconds)} s",
            reason="TOO_MANY_REQUESTS",
            retry_after_seconds=standing.retry_after_seconds,
        )


class _Bucket:
    """What one subject has taken of its minute."""

    __slots__ = ("interval", "untold", "whole_at")

    def __init__(self) -> None:
        # By the clock here; all that was taken is given back then.
        self.whole_at = 0.0
        self.interval = 0.0
        # Requests that the store hasn't been told of, or hasn't acknowledged.
        self.untold = 0


class RequestLimiter:
    """Lets requests in as often as limits permit, for one edge of the mesh."""

    def __init__(
        self,
        store: limit_pb2_grpc.LimitServiceAsyncStub,
        metadata: Callable[[], Metadata],
        *,
        of_caller: int,
        of_address: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`of_caller` and `of_address` are requests in a minute; 0 is no limit.

        `metadata` is what a call to the store on the edge's own behalf carries.
        """
        self._store = store
        self._metadata = metadata
        self._of_caller = of_caller
        self._of_address = of_address
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._untold: dict[str, _Bucket] = {}
        self._urgent = asyncio.Event()
        self._told = asyncio.Event()
        self._store_answers = True
        self._telling: asyncio.Task[None] | None = None

    async def take_for(self, caller: Caller) -> Standing | None:
        """Take a request of somebody whose credential is good; None where nothing limits them."""
        key = caller.identity.api_key_id
        limits = (self._of_caller, caller.principal.max_requests_per_minute)
        limit = min(filter(None, limits), default=0)
        return await self._take("key" if key else "user", key or caller.identity.user_id, limit)

    async def take_for_address(self, address: str) -> Standing | None:
        """Take a request of somebody of whom only the network address is known."""
        return await self._take("address", network_of(address), self._of_address)

    async def close(self) -> None:
        """Tell nothing more. What the store wasn't told is forgotten."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
            self._store_answers = False
            self._told.set()

    async def _take(self, kind: str, who: str, limit: int) -> Standing | None:
        if limit == 0:
            return None
        subject = f"{kind}:{who}"
        bucket = self._buckets.get(subject) or self._new(subject)
        bucket.interval = interval = WINDOW_SECONDS / limit
        most_untold = max(1, int(limit * _UNTOLD_SHARE))
        while True:
            now = self._clock()
            taken = max(bucket.whole_at - now, 0.0)
            wait = taken + interval - WINDOW_SECONDS
            if wait > _ROUNDING_SECONDS:
                return Standing(kind, limit, 0, taken, wait)
            if bucket.untold < most_untold or not self._store_answers:
                break
            self._urgent.set()
            await self._told.wait()
        taken += interval
        bucket.whole_at = now + taken
        bucket.untold += 1
        self._tell_soon(subject, bucket, urgent=2 * bucket.untold >= most_untold)
        left = int((WINDOW_SECONDS - taken + _ROUNDING_SECONDS) / interval)
        return Standing(kind, limit, left, taken)

    def _new(self, subject: str) -> _Bucket:
        if len(self._buckets) >= _MAX_REMEMBERED:
            # The store remembers the others.
            if len(self._untold) >= _MAX_REMEMBERED:
                self._untold.clear()
            self._buckets = dict(self._untold)
        bucket = self._buckets[subject] = _Bucket()
        return bucket

    def _tell_soon(self, subject: str, bucket: _Bucket, *, urgent: bool) -> None:
        self._untold[subject] = bucket
        if urgent or len(self._untold) >= _COUNTS_PER_CALL:
            self._urgent.set()
        if self._telling is None or self._telling.done():
            # On no request's account, whichever was the first.
            context = contextvars.Context()
            self._telling = asyncio.create_task(self._tell_all(), context=context)

    async def _tell_all(self) -> None:
        while self._untold:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    await self._urgent.wait()
            self._urgent.clear()
            try:
                await self._tell()
            finally:
                self._told.set()
                self._told = asyncio.Event()
            if not self._store_answers:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _tell(self) -> None:
        """Tell the store of what was taken, and learn what was taken elsewhere."""
        told = [(s, b, b.untold) for s, b in islice(self._untold.items(), _COUNTS_PER_CALL)]
        request = limit_pb2.CountRequestsRequest(
            counts=[
                limit_pb2.RequestCount(subject=subject, seconds=untold * bucket.interval)
                for subject, bucket, untold in told
            ]
        )
        try:
            answer = await self._store.CountRequests(
                request, timeout=_CALL_SECONDS, metadata=self._metadata()
            )
        except grpc.aio.AioRpcError as error:
            if self._store_answers:
                log.warning(
                    "requests are counted by this process alone until the store can be asked",
                    reason=error.details(),
                )
            self._store_answers = False
            return
        self._store_answers = True
        now = self._clock()
        for (subject, bucket, untold), seconds in zip(
            told, answer.seconds_until_whole, strict=True
        ):
            self._untold.pop(subject, None)
            bucket.untold -= untold
            bucket.whole_at = now + max(seconds, 0.0) + bucket.untold * bucket.interval
            if bucket.untold:
                self._untold[subject] = bucket


def network_of(address: str) -> str:
    """Return what a network address counts as: itself, or of IPv6 its network, which one has whole.

    What is no address is "".
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))
