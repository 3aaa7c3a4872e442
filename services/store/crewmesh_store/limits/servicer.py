"""crewmesh.v1.LimitService."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh.common.grpc_server import caller
from crewmesh.v1 import limit_pb2, limit_pb2_grpc
from crewmesh_store.limits.repository import LimitRepository

_MOST: Final = 1_000_000
_MOST_CREWS: Final = 1_000
_MOST_COUNTS: Final = 1_000


class LimitServicer(limit_pb2_grpc.LimitServiceServicer):
    """An organisation's limits, over gRPC; `on_set` is called when some have changed."""

    def __init__(self, limits: LimitRepository, on_set: Callable[[], None]) -> None:
        self._limits = limits
        self._on_set = on_set

    async def GetLimits(
        self, request: limit_pb2.GetLimitsRequest, context: Any
    ) -> limit_pb2.GetLimitsResponse:
        limits = await self._limits.get(caller().require_org())
        return limit_pb2.GetLimitsResponse(limits=limits)

    async def SetLimits(
        self, request: limit_pb2.SetLimitsRequest, context: Any
    ) -> limit_pb2.SetLimitsResponse:
        org_id = caller().require_org()
        if violations := faults_of(request.limits):
            raise InvalidInputError("these limits can't be set", violations=violations)
        await self._limits.set(org_id, request.limits)
        self._on_set()
        return limit_pb2.SetLimitsResponse(limits=await self._limits.get(org_id))

    async def CountRequests(
        self, request: limit_pb2.CountRequestsRequest, context: Any
    ) -> limit_pb2.CountRequestsResponse:
        counts = {count.subject: count.seconds for count in request.counts}
        if len(counts) != len(request.counts) or len(counts) > _MOST_COUNTS:
            raise InvalidInputError(f"at most {_MOST_COUNTS:,} counts, each of another subject")
        if not all(0 <= seconds < math.inf for seconds in counts.values()):
            raise InvalidInputError("seconds are 0 or more")
        until_whole = await self._limits.count_requests(counts)
        return limit_pb2.CountRequestsResponse(
            seconds_until_whole=[until_whole[subject] for subject in counts]
        )


def faults_of(limits: limit_pb2.Limits) -> list[Violation]:
    """Return every fault of the limits; none when they can be set."""
    bounds = f"1 to {_MOST:,}"
    faults = []
    if limits.HasField("max_running") and not 1 <= limits.max_running <= _MOST:
        faults.append(Violation("max_running", f"{bounds}, or null for no limit"))
    if not 1 <= limits.max_queued <= _MOST:
        faults.append(Violation("max_queued", bounds))
    requests = limits.max_requests_per_minute
    if limits.HasField("max_requests_per_minute") and not 1 <= requests <= _MOST:
        faults.append(Violation("max_requests_per_minute", f"{bounds}, or null for no limit"))
    if len(limits.crews) > _MOST_CREWS:
        faults.append(Violation("crews", f"at most {_MOST_CREWS:,} crews"))
        return faults
    for crew, times in Counter(limit.crew for limit in limits.crews).items():
        if times > 1 or not 1 <= len(crew) <= 100 or "\x00" in crew:
            faults.append(Violation(f"crews.{crew}", "a crew's name, once"))
    faults.extend(
        Violation(f"crews.{limit.crew}", bounds)
        for limit in limits.crews
        if not 1 <= limit.max_running <= _MOST
    )
    return faults
