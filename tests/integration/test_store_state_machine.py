"""The store's claims, appends and transitions against a model, by Hypothesis.

Any sequence of what workers and people can do, in any order, with stale epochs, wrong
numbers and repetitions among them, leaves the store in the state that a few lines of
plain Python predict.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, run_pb2, run_store_pb2
from crewmesh_store.database import Database
from crewmesh_store.runs.repository import RunRepository
from tests.integration.conftest import append, event

ENDS = {
    "succeeded": run_pb2.RUN_STATUS_SUCCEEDED,
    "failed": run_pb2.RUN_STATUS_FAILED,
    "timed_out": run_pb2.RUN_STATUS_TIMED_OUT,
}


@dataclass
class Model:
    """What one run should be."""

    status: str
    epoch: int
    attempt: int
    events: list[str]
    failures: int = 0
    cancel_requested: bool = False
    lease: run_store_pb2.Lease | None = None
    last_batch: run_store_pb2.Append | None = None
    stale: list[run_store_pb2.Lease] = field(default_factory=list)


class StoreMachine(RuleBasedStateMachine):
    """Drives a RunRepository and the model side by side."""

    def __init__(self, url: str) -> None:
        super().__init__()
        with psycopg.connect(url, autocommit=True) as connection:
            # The organisations stay, as their audit logs do.
            connection.execute("TRUNCATE runs, run_events, idempotency_keys CASCADE")
            row = connection.execute("INSERT INTO orgs (name) VALUES ('o') RETURNING id").fetchone()
        assert row is not None
        self.identity = Identity("agent_worker", str(row[0]), "somebody", "developer")
        self.loop = asyncio.Runner()
        self.database = Database(url, 2)
        self.loop.run(self.database.open())
        self.runs = RunRepository(self.database, timedelta(seconds=60))
        self.models: dict[str, Model] = {}

    def teardown(self) -> None:
        self.loop.run(self.database.close())
        self.loop.close()

    def pick(self, data: Any, *statuses: str) -> tuple[str, Model]:
        names = [name for name, model in self.models.items() if model.status in statuses]
        name = data.draw(st.sampled_from(sorted(names)))
        return name, self.models[name]

    def has(self, *statuses: str) -> bool:
        return any(model.status in statuses for model in self.models.values())

    def send(self, batch: run_store_pb2.Append) -> str:
        (stored,) = self.loop.run(self.runs.append([batch]))
        return run_store_pb2.AppendOutcome.Name(stored.result.outcome).removeprefix(
            "APPEND_OUTCOME_"
        )

    def leave(self, model: Model, status: str) -> None:
        assert model.lease is not None
        model.stale.append(model.lease)
        model.lease = None
        # Nobody is left to cancel it.
        if model.cancel_requested and status in ("queued", "waiting"):
            model.events.append("run.cancelled")
            status = "cancelled"
        model.status = status

    @precondition(lambda self: len(self.models) < 6)
    @rule(worker=st.booleans(), priority=st.integers(-2, 2))
    def create(self, worker: bool, priority: int) -> None:
        request = run_store_pb2.CreateRunRequest(
            spec=agent_pb2.RunSpec(
                crew="c", inputs_json="{}", timeout_seconds=9, max_attempts=3, priority=priority
            ),
            crew_version="1",
            worker_id="w" if worker else "",
        )
        at_once = worker and not self.has("queued")
        created = self.loop.run(self.runs.create(request, self.identity))
        assert (created.lease is not None) == at_once
        self.models[created.run.id] = Model(
            status="running" if at_once else "queued",
            epoch=int(at_once),
            attempt=int(at_once),
            events=["run.queued", "run.started"] if at_once else ["run.queued"],
            lease=created.lease,
        )

    @rule(places=st.integers(1, 3))
    def claim(self, places: int) -> None:
        leases = self.loop.run(self.runs.claim(["w"] * places))
        waiting = [model for model in self.models.values() if model.status == "queued"]
        # Those that have failed more than once may have to wait a while.
        at_least = sum(model.failures <= 1 for model in waiting)
        assert min(places, at_least) <= len(leases) <= min(places, len(waiting))
        for lease in leases:
            model = self.models[lease.run.id]
            assert model.status == "queued"
            model.status, model.lease = "running", lease
            model.epoch += 1
            model.attempt += 1
            model.events.append("run.started")
            assert lease.epoch == model.epoch
            assert lease.next_seq == len(model.events) + 1

    @precondition(lambda self: self.has("running"))
    @rule(data=st.data(), count=st.integers(1, 4))
    def add(self, data: Any, count: int) -> None:
        _, model = self.pick(data, "running")
        assert model.lease is not None
        batch = append(model.lease, len(model.events) + 1, *(event() for _ in range(count)))
        assert self.send(batch) == "STORED"
        model.events += ["log"] * count
        model.last_batch = batch

    @precondition(lambda self: self.has("running"))
    @rule(data=st.data())
    def repeat_the_last_batch(self, data: Any) -> None:
        _, model = self.pick(data, "running")
        if model.last_batch is not None and model.last_batch.epoch == model.epoch:
            assert self.send(model.last_batch) == "STORED"

    @precondition(lambda self: self.has("running"))
    @rule(data=st.data(), gap=st.integers(2, 5))
    def leave_a_gap(self, data: Any, gap: int) -> None:
        _, model = self.pick(data, "running")
        assert model.lease is not None
        assert self.send(append(model.lease, len(model.events) + gap)) == "OUT_OF_ORDER"

    @precondition(lambda self: any(model.stale for model in self.models.values()))
    @rule(data=st.data())
    def write_late(self, data: Any) -> None:
        names = sorted(name for name, model in self.models.items() if model.stale)
        model = self.models[data.draw(st.sampled_from(names))]
        assert self.send(append(model.stale[-1], len(model.events) + 1)) == "LEASE_LOST"

    @precondition(lambda self: self.has("running"))
    @rule(data=st.data(), how=st.sampled_from(sorted(ENDS)))
    def end(self, data: Any, how: str) -> None:
        _, model = self.pick(data, "running")
        assert model.lease is not None
        last = event(f"run.{how}")
        batch = append(model.lease, len(model.events) + 1, last, status=ENDS[how])
        assert self.send(batch) == "STORED"
        assert self.send(batch) == "STORED"
        model.events.append(f"run.{how}")
        self.leave(model, how)

    @precondition(lambda self: self.has("running"))
    @rule(data=st.data())
    def lose_the_last_runner(self, data: Any) -> None:
        _, model = self.pick(data, "running")
        assert model.lease is not None
        batch = append(
            model.lease,
            len(model.events) + 1,
            event("run.failed"),
            status=run_pb2.RUN_STATUS_FAILED,
            error=run_pb2.RunError(code="attempts_exhausted"),
        )
        assert self.send(batch) == "STORED"
        assert self.send(batch) == "STORED"
        status = "cancelled" if model.cancel_requested else "failed"
        model.failures += 1
        model.events.append(f"run.{status}")
        self.leave(model, status)

    @precondition(lambda self: self.has("running"))
    @rule(data=st.data(), failed=st.booleans())
    def give_back(self, data: Any, failed: bool) -> None:
        _, model = self.pick(data, "running")
        assert model.lease is not None
        batch = append(
            model.lease,
            len(model.events) + 1,
            event("run.queued"),
            status=run_pb2.RUN_STATUS_QUEUED,
            error=run_pb2.RunError(code="runner_died") if failed else None,
        )
        assert self.send(batch) == "STORED"
        model.failures += failed
        model.events.append("run.queued")
        self.leave(model, "queued")

    @precondition(lambda self: self.has("running"))
    @rule(data=st.data())
    def wait_for_a_person(self, data: Any) -> None:
        _, model = self.pick(data, "running")
        assert model.lease is not None
        asked = event("input.requested")
        batch = append(model.lease, len(model.events) + 1, asked, status=run_pb2.RUN_STATUS_WAITING)
        batch.transition.wait.FromSeconds(60)
        assert self.send(batch) == "STORED"
        model.events.append("input.requested")
        self.leave(model, "waiting")

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def answer(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.models)))
        model = self.models[name]
        row = self.loop.run(self.runs.respond(name, self.identity, {"text": "yes"}, 0))
        assert (row is not None) == (model.status == "waiting")
        if row is not None:
            model.status = "queued"
            model.events.append("input.received")

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.models)))
        model = self.models[name]
        row = self.loop.run(self.runs.cancel(name, self.identity.org_id, "no need"))
        if model.status in ("queued", "waiting"):
            model.status = "cancelled"
            model.events.append("run.cancelled")
        elif model.status == "running":
            model.cancel_requested = True
        else:
            assert row is None

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        for name, model in self.models.items():
            run = self.loop.run(self.runs.get(name, self.identity.org_id))
            assert run is not None
            status = run_pb2.RunStatus.Name(run.status).removeprefix("RUN_STATUS_").lower()
            assert status == model.status
            assert run.attempt == model.attempt
            assert run.failures == model.failures
            assert run.last_seq == len(model.events)
            events, _ = self.loop.run(self.runs.read_events(name, 0, 1000, 2**24))
            assert [e.seq for e in events] == list(range(1, len(events) + 1))
            assert [e.type for e in events] == model.events


def test_any_sequence_of_calls_leaves_the_store_as_the_model_predicts(database_url: str) -> None:
    run_state_machine_as_test(
        lambda: StoreMachine(database_url),
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
