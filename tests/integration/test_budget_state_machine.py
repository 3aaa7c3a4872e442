"""Budgets against a model, by Hypothesis: reserve, settle, lose, in any order.

Whatever happens, what is spent and reserved together never exceeds a limit, nothing that was
spent is forgotten, and nothing stays reserved that nobody will settle.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crewmesh.common.errors import StateError
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, budget_pb2, run_pb2, run_store_pb2
from crewmesh_store.budgets.repository import BudgetRepository
from crewmesh_store.database import Database
from crewmesh_store.runs.repository import RunRepository
from tests.integration.conftest import append, event

PRICE = 3_000_000  # micros for a million tokens of an answer: 3 for each
TENANT_TOKENS, TENANT_MICROS = 3_000, 9_000


@dataclass
class Reserved:
    """A reservation: of which attempt, and of how much."""

    run_id: str
    epoch: int
    tokens: int
    micros: int


@dataclass
class Model:
    """What should be spent and reserved, in all and by run."""

    spent: dict[str, list[int]] = field(default_factory=dict)
    open: dict[str, Reserved] = field(default_factory=dict)
    leases: dict[str, run_store_pb2.Lease] = field(default_factory=dict)
    limits: dict[str, int | None] = field(default_factory=dict)

    def spend(self, run_id: str, tokens: int, micros: int) -> None:
        spent = self.spent.setdefault(run_id, [0, 0])
        spent[0] += tokens
        spent[1] += micros

    def total(self) -> tuple[int, int]:
        return sum(s[0] for s in self.spent.values()), sum(s[1] for s in self.spent.values())

    def held(self, run_id: str | None = None) -> tuple[int, int]:
        found = [r for r in self.open.values() if run_id in (None, r.run_id)]
        return sum(r.tokens for r in found), sum(r.micros for r in found)

    def room(self, run_id: str, prompt: tuple[int, int], *, later: bool) -> int:
        """How long an answer there is room for, now or when nothing is reserved."""
        (tokens, micros), limit = self.total(), self.limits[run_id]
        held_tokens, held_micros = (0, 0) if later else self.held()
        rooms = [
            TENANT_TOKENS - tokens - held_tokens - prompt[0],
            (TENANT_MICROS - micros - held_micros - prompt[1]) * 1_000_000 // PRICE,
        ]
        if limit is not None:
            own = 0 if later else self.held(run_id)[0]
            rooms.append(limit - self.spent.get(run_id, [0, 0])[0] - own - prompt[0])
        return min(rooms)


class BudgetMachine(RuleBasedStateMachine):
    """Drives a BudgetRepository and the model side by side."""

    def __init__(self, url: str) -> None:
        super().__init__()
        with psycopg.connect(url, autocommit=True) as connection:
            # The organisations stay, as their audit logs do.
            connection.execute("TRUNCATE runs, run_events, model_calls CASCADE")
            row = connection.execute("INSERT INTO orgs (name) VALUES ('o') RETURNING id").fetchone()
        assert row is not None
        self.identity = Identity("agent_worker", str(row[0]), "somebody", "owner")
        self.loop = asyncio.Runner()
        self.database = Database(url, 2)
        self.loop.run(self.database.open())
        self.runs = RunRepository(self.database, timedelta(seconds=60))
        self.budgets = BudgetRepository(self.database)
        limit = budget_pb2.BudgetLimit(max_tokens=TENANT_TOKENS, max_micros=TENANT_MICROS)
        budget = budget_pb2.Budget(period=budget_pb2.BUDGET_PERIOD_MONTH, limit=limit)
        self.loop.run(self.budgets.put(self.identity.org_id, [budget]))
        self.model = Model()

    def teardown(self) -> None:
        self.loop.run(self.database.close())
        self.loop.close()

    def pick_run(self, data: Any) -> str:
        run_id: str = data.draw(st.sampled_from(sorted(self.model.leases)))
        return run_id

    def pick_reservation(self, data: Any) -> str:
        return str(data.draw(st.sampled_from(sorted(self.model.open))))

    @precondition(lambda self: len(self.model.leases) < 4)
    @rule(limit=st.one_of(st.none(), st.integers(200, 2_000)))
    def start_a_run(self, limit: int | None) -> None:
        budget = None if limit is None else budget_pb2.BudgetLimit(max_tokens=limit)
        spec = agent_pb2.RunSpec(
            crew="c", inputs_json="{}", timeout_seconds=9, max_attempts=9, budget=budget
        )
        request = run_store_pb2.CreateRunRequest(spec=spec, crew_version="1", worker_id="w")
        created = self.loop.run(self.runs.create(request, self.identity))
        assert created.lease is not None
        assert created.lease.budgeted
        self.model.leases[created.run.id] = created.lease
        self.model.limits[created.run.id] = limit

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), prompt=st.integers(1, 800), wanted=st.integers(1, 900))
    def reserve(self, data: Any, prompt: int, wanted: int) -> None:
        run_id = self.pick_run(data)
        least = min(wanted, 100)
        cost = prompt * 2
        request = budget_pb2.ReserveBudgetRequest(
            run_id=run_id,
            epoch=self.model.leases[run_id].epoch,
            reservation_id=str(uuid.UUID(int=data.draw(st.integers(0, 2**128 - 1)), version=4)),
            prompt=budget_pb2.Amount(tokens=prompt, micros=cost),
            completion_tokens=wanted,
            min_completion_tokens=least,
            completion_micros_per_million=PRICE,
        )
        if request.reservation_id in self.model.open:
            return
        now = self.model.room(run_id, (prompt, cost), later=False)
        later = self.model.room(run_id, (prompt, cost), later=True)
        answer = self.loop.run(self.budgets.reserve(request))
        verdict = budget_pb2.BudgetVerdict.Name(answer.verdict).removeprefix("BUDGET_VERDICT_")
        assert verdict == ("EXCEEDED" if later < least else "WAIT" if now < least else "GRANTED")
        if verdict == "GRANTED":
            granted = answer.completion_tokens
            assert granted == min(wanted, now)
            again = self.loop.run(self.budgets.reserve(request))
            assert again == answer
            self.model.open[request.reservation_id] = Reserved(
                run_id, request.epoch, prompt + granted, cost + granted * 3
            )
        else:
            assert answer.budget.limit.max_tokens

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), part=st.floats(0, 1), known=st.booleans())
    def settle(self, data: Any, part: float, known: bool) -> None:
        name = self.pick_reservation(data)
        reserved = self.model.open.pop(name)
        tokens, micros = reserved.tokens, reserved.micros
        spent = None
        if known:
            tokens, micros = int(tokens * part), int(micros * part)
            spent = budget_pb2.Amount(tokens=tokens, micros=micros)
        request = budget_pb2.SettleBudgetRequest(
            run_id=reserved.run_id, epoch=reserved.epoch, reservation_id=name, spent=spent
        )
        for _ in range(2):  # the second time changes nothing
            self.loop.run(self.budgets.settle(request))
        self.model.spend(reserved.run_id, tokens, micros)

    @precondition(lambda self: self.model.open)
    @rule(data=st.data())
    def settle_another_attempts(self, data: Any) -> None:
        """Its epoch is wrong, so it changes nothing."""
        name = self.pick_reservation(data)
        reserved = self.model.open[name]
        request = budget_pb2.SettleBudgetRequest(
            run_id=reserved.run_id, epoch=reserved.epoch + 1, reservation_id=name
        )
        self.loop.run(self.budgets.settle(request))

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def lose_an_attempt(self, data: Any) -> None:
        """Its runner died: what it had reserved counts as spent, and the next one begins."""
        run_id = self.pick_run(data)
        lease = self.model.leases[run_id]
        run = self.loop.run(self.runs.get(run_id, self.identity.org_id))
        assert run is not None
        batch = append(
            lease, run.last_seq + 1, event("run.queued"), status=run_pb2.RUN_STATUS_QUEUED
        )
        self.loop.run(self.runs.append([batch]))
        with pytest.raises(StateError):
            self.loop.run(
                self.budgets.reserve(
                    budget_pb2.ReserveBudgetRequest(
                        run_id=run_id,
                        epoch=lease.epoch,
                        reservation_id=str(uuid.uuid4()),
                        completion_tokens=1,
                        completion_micros_per_million=PRICE,
                    )
                )
            )
        lost = [name for name, r in self.model.open.items() if r.run_id == run_id]
        assert self.loop.run(self.budgets.charge_lost()) == len(lost)
        for name in lost:
            reserved = self.model.open.pop(name)
            self.model.spend(run_id, reserved.tokens, reserved.micros)
        (again,) = self.loop.run(self.runs.claim(["w"]))
        assert again.run.id == run_id
        self.model.leases[run_id] = again

    @rule()
    def look_for_lost_calls(self) -> None:
        assert self.loop.run(self.budgets.charge_lost()) == 0

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        (budget,) = self.loop.run(self.budgets.list_all(self.identity.org_id))
        assert (budget.spent.tokens, budget.spent.micros) == self.model.total()
        assert (budget.reserved.tokens, budget.reserved.micros) == self.model.held()
        assert budget.spent.tokens + budget.reserved.tokens <= TENANT_TOKENS
        assert budget.spent.micros + budget.reserved.micros <= TENANT_MICROS


def test_whatever_happens_no_budget_is_exceeded_and_nothing_is_lost(database_url: str) -> None:
    run_state_machine_as_test(
        lambda: BudgetMachine(database_url),
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
