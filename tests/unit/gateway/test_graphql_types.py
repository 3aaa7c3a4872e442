"""What GraphQL makes of messages that its integration tests' mesh has none of."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.v1 import budget_pb2, run_store_pb2, session_pb2
from crewmesh_gateway.graphql.organisation import BudgetState, Fleet, Session
from crewmesh_gateway.translate import budget_json, queue_json, session_json, worker_json

NOW = datetime(2026, 11, 29, 13, 0, tzinfo=UTC)


def at_now() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(NOW)
    return stamp


def test_a_session_is_as_rest_has_it() -> None:
    message = session_pb2.Session(
        id="s1",
        crew="assistant",
        title="On runs",
        inputs_json='{"name": "Ada"}',
        created_by="u1",
        turns=3,
        open_turns=1,
        created_at=at_now(),
        updated_at=at_now(),
    )
    shown = asdict(Session.of(message))
    assert shown.keys() == session_json(message).keys()
    assert (shown["title"], shown["turns"], shown["inputs"]) == ("On runs", 3, {"name": "Ada"})
    assert shown["updated_at"] == NOW


def test_the_fleet_is_as_rest_has_it() -> None:
    worker = run_store_pb2.Worker(
        id="w1", slots=8, free_slots=6, running=2, started_at=at_now(), last_seen_at=at_now()
    )
    answer = run_store_pb2.ListWorkersResponse(
        workers=[worker], queue=run_store_pb2.Queue(queued=2, oldest_queued_at=at_now())
    )
    answer.lease_ttl.FromSeconds(15)
    fleet = asdict(Fleet.of(answer))
    assert fleet["lease_seconds"] == 15
    assert fleet["items"][0].keys() == worker_json(worker).keys()
    assert (fleet["items"][0]["free_slots"], fleet["items"][0]["lease_age_seconds"]) == (6, None)
    assert fleet["queue"].keys() == queue_json(answer.queue).keys()
    assert fleet["queue"]["oldest_queued_at"] == NOW


def test_a_total_has_no_period() -> None:
    message = budget_pb2.Budget(
        period=budget_pb2.BUDGET_PERIOD_TOTAL, limit=budget_pb2.BudgetLimit(max_micros=2_500_000)
    )
    shown = asdict(BudgetState.of(message))
    assert shown.keys() == budget_json(message).keys()
    assert (shown["period"], shown["max_usd"], shown["period_start"]) == ("total", 2.5, None)
