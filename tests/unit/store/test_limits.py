from __future__ import annotations

import pytest

from crewmesh.v1.limit_pb2 import CrewLimit, Limits
from crewmesh_store.limits.servicer import faults_of


def crews(*limits: tuple[str, int]) -> Limits:
    return Limits(max_queued=1, crews=[CrewLimit(crew=c, max_running=n) for c, n in limits])


@pytest.mark.parametrize(
    ("limits", "faults"),
    [
        (Limits(max_queued=1), []),
        (Limits(max_running=1, max_queued=1_000_000), []),
        (crews(("a", 1), ("b", 1_000_000)), []),
        (Limits(), ["max_queued"]),
        (Limits(max_queued=1_000_001), ["max_queued"]),
        (Limits(max_running=0, max_queued=1), ["max_running"]),
        (Limits(max_running=1_000_001), ["max_running", "max_queued"]),
        (Limits(max_queued=1, max_requests_per_minute=1_000_000), []),
        (Limits(max_queued=1, max_requests_per_minute=0), ["max_requests_per_minute"]),
        (crews(("a", 0), ("b", 1_000_001)), ["crews.a", "crews.b"]),
        (crews(("a", 1), ("a", 2)), ["crews.a"]),
        (crews(("", 1)), ["crews."]),
        (crews(("x" * 101, 1)), ["crews." + "x" * 101]),
        (crews(("a\x00", 1)), ["crews.a\x00"]),
        (crews(*((str(n), 0) for n in range(1001))), ["crews"]),
    ],
)
def test_every_fault_of_limits_is_found(limits: Limits, faults: list[str]) -> None:
    assert [fault.field for fault in faults_of(limits)] == faults
