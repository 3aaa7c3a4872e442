"""Budgets, usage, secrets and policies of a real store."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crewmesh.common.errors import (
    CrewmeshError,
    ForbiddenError,
    InvalidInputError,
    StateError,
)
from crewmesh.common.grpc_client import budget_stub, tenant_stub
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import Identity
from crewmesh.v1 import budget_pb2, identity_pb2, run_pb2, run_store_pb2, tenant_pb2
from tests.conftest import until
from tests.integration.conftest import StoreClient, append, event, new_key, serving_store

MONTH, DAY = budget_pb2.BUDGET_PERIOD_MONTH, budget_pb2.BUDGET_PERIOD_DAY
GRANTED = budget_pb2.BUDGET_VERDICT_GRANTED


class Tenant:
    """What a person of the organisation can set, over gRPC."""

    def __init__(self, store: StoreClient, role: str = "owner") -> None:
        self.store = store
        self.budgets = budget_stub(store.channel)
        self.tenants = tenant_stub(store.channel)
        identity = Identity("api_gateway", store.org.org_id, store.org.user_id, role)
        self.metadata: Any = store.signer.metadata(identity)

    async def set_budgets(self, *budgets: budget_pb2.Budget) -> list[budget_pb2.Budget]:
        request = budget_pb2.PutBudgetsRequest(budgets=budgets)
        with rpc_errors():
            return list((await self.budgets.PutBudgets(request, metadata=self.metadata)).budgets)

    async def list_budgets(self) -> list[budget_pb2.Budget]:
        request = budget_pb2.ListBudgetsRequest()
        return list((await self.budgets.ListBudgets(request, metadata=self.metadata)).budgets)

    async def reserve(
        self, lease: run_store_pb2.Lease, tokens: int, completion: int = 1
    ) -> tuple[str, budget_pb2.ReserveBudgetResponse]:
        request = budget_pb2.ReserveBudgetRequest(
            run_id=lease.run.id,
            epoch=lease.epoch,
            reservation_id=str(uuid.uuid4()),
            prompt=budget_pb2.Amount(tokens=tokens),
            completion_tokens=completion,
            min_completion_tokens=completion,
            completion_micros_per_million=0,
        )
        with rpc_errors():
            answer = await self.budgets.ReserveBudget(request, metadata=self.store.service)
        return request.reservation_id, answer

    async def put_secret(self, name: str, value: str) -> tenant_pb2.Secret:
        request = tenant_pb2.PutSecretRequest(name=name, value=value)
        with rpc_errors():
            return (await self.tenants.PutSecret(request, metadata=self.metadata)).secret


def budget(tokens: int, period: Any = MONTH, key: str = "") -> budget_pb2.Budget:
    limit = budget_pb2.BudgetLimit(max_tokens=tokens)
    return budget_pb2.Budget(period=period, limit=limit, api_key_id=key)


async def test_a_run_without_a_budget_is_leased_without_one(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    assert not lease.budgeted
    assert not lease.secrets
    assert lease.policy_json == ""


async def test_a_lease_says_when_a_budget_holds(store: StoreClient) -> None:
    own = budget_pb2.BudgetLimit(max_micros=5)
    assert (await store.create(worker_id="w1", budget=own)).lease.budgeted
    await Tenant(store).set_budgets(budget(1_000))
    assert (await store.create(worker_id="w1")).lease.budgeted


async def test_concurrent_reservations_never_take_more_than_there_is(store: StoreClient) -> None:
    tenant = Tenant(store)
    await tenant.set_budgets(budget(1_000))
    leases = [(await store.create(worker_id="w1")).lease for _ in range(4)]
    answers = await asyncio.gather(
        *(tenant.reserve(leases[number % 4], 99) for number in range(40))
    )
    assert sum(answer.verdict == GRANTED for _, answer in answers) == 10
    (state,) = await tenant.list_budgets()
    assert (state.spent.tokens, state.reserved.tokens) == (0, 1_000)


async def test_a_budget_of_a_key_holds_for_its_runs_only(store: StoreClient) -> None:
    tenant = Tenant(store)
    request = identity_pb2.CreateApiKeyRequest(name="k")
    made = await store.identities.CreateApiKey(request, metadata=tenant.metadata)
    key = made.api_key.id
    await tenant.set_budgets(budget(100, key=key))
    other = (await store.create(worker_id="w1")).lease
    assert not other.budgeted
    store.org = Identity(
        "agent_worker", store.org.org_id, store.org.user_id, "owner", api_key_id=key
    )
    lease = (await store.create(worker_id="w1")).lease
    assert lease.budgeted
    _, answer = await tenant.reserve(lease, 101)
    assert answer.verdict == budget_pb2.BUDGET_VERDICT_EXCEEDED
    assert answer.budget.api_key_id == key


async def test_a_new_budget_begins_with_what_its_period_has_seen(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    batch = append(lease, 3, event("log"), event("llm.completed"))
    batch.model_calls.add(event=1, model="m", total_tokens=70, cost_micros=7)
    assert await store.append(batch) == ["STORED"]
    assert await store.append(batch) == ["STORED"]
    tenant = Tenant(store)
    (state,) = await tenant.set_budgets(budget(1_000))
    assert (state.spent.tokens, state.spent.micros) == (70, 7)
    run = await store.get(lease.run.id)
    assert (run.usage.total_tokens, run.usage.cost_micros, run.usage.model_calls) == (70, 7, 1)


async def test_budgets_that_stay_keep_what_is_spent(store: StoreClient) -> None:
    tenant = Tenant(store)
    await tenant.set_budgets(budget(1_000), budget(500, DAY))
    lease = (await store.create(worker_id="w1")).lease
    name, _ = await tenant.reserve(lease, 99)
    request = budget_pb2.SettleBudgetRequest(
        run_id=lease.run.id,
        epoch=lease.epoch,
        reservation_id=name,
        spent=budget_pb2.Amount(tokens=40),
    )
    await tenant.budgets.SettleBudget(request, metadata=store.service)
    (state,) = await tenant.set_budgets(budget(2_000))
    assert (state.limit.max_tokens, state.spent.tokens, state.reserved.tokens) == (2_000, 40, 0)


async def test_the_call_of_a_worker_that_went_silent_counts_as_spent(
    database_url: str, tmp_path: Path
) -> None:
    async with serving_store(database_url, tmp_path, lease_seconds=1) as store:
        tenant = Tenant(store)
        await tenant.set_budgets(budget(1_000))
        lease = (await store.create(worker_id="w1")).lease
        await tenant.reserve(lease, 299)

        async def charged() -> bool:
            (state,) = await tenant.list_budgets()
            assert state.spent.tokens + state.reserved.tokens == 300
            return state.spent.tokens == 300

        await until(charged, 20)
        with pytest.raises(StateError) as refused:
            await tenant.reserve(lease, 1)
        assert refused.value.reason == "LEASE_LOST"


async def test_a_run_that_has_ended_reserves_nothing(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease
    end = append(lease, 3, event("run.failed"), status=run_pb2.RUN_STATUS_FAILED, output="half")
    end.transition.error.CopyFrom(run_pb2.RunError(code="budget_exceeded", message="m"))
    assert await store.append(end) == ["STORED"]
    run = await store.get(lease.run.id)
    assert (run.output, run.output_partial, run.error.code) == ("", "half", "budget_exceeded")
    with pytest.raises(StateError):
        await Tenant(store).reserve(lease, 1)


@pytest.mark.parametrize("role", ["developer", "operator", "viewer", ""])
async def test_only_owners_and_admins_set_budgets_and_policies(
    store: StoreClient, role: str
) -> None:
    tenant = Tenant(store, role)
    with pytest.raises(ForbiddenError):
        await tenant.set_budgets(budget(1))
    with pytest.raises(ForbiddenError), rpc_errors():
        await tenant.tenants.PutPolicy(tenant_pb2.PutPolicyRequest(), metadata=tenant.metadata)


async def test_wrong_budgets_are_refused_with_every_fault(store: StoreClient) -> None:
    wrong = [budget(0), budget_pb2.Budget(period=MONTH), budget_pb2.Budget()]
    with pytest.raises(InvalidInputError) as refused:
        await Tenant(store).set_budgets(*wrong)
    places = [violation.field for violation in refused.value.violations]
    assert places == ["items.0", "items.1", "items.1", "items.2.period", "items.2"]
    with pytest.raises(InvalidInputError, match="API key"):
        await Tenant(store).set_budgets(budget(5, key=str(uuid.uuid4())))
    assert await Tenant(store).list_budgets() == []


async def test_secrets_come_with_leases_and_are_encrypted_at_rest(
    database_url: str, tmp_path: Path
) -> None:
    value = "sk-a-long-and-secret-value"
    async with serving_store(database_url, tmp_path, secrets_key=new_key()) as store:
        secret = await Tenant(store, "developer").put_secret("MY_KEY", value)
        assert (secret.name, secret.ending) == ("MY_KEY", "alue")
        lease = (await store.create(worker_id="w1")).lease
        assert dict(lease.secrets) == {"MY_KEY": value}
        with psycopg.connect(database_url) as connection:
            (row,) = connection.execute("SELECT s::text FROM secrets s").fetchall()
        assert value not in row[0]
        assert value.encode().hex() not in row[0]


async def test_keys_rotate_and_a_secret_opens_nowhere_else(
    database_url: str, tmp_path: Path
) -> None:
    old, new = new_key(), new_key()
    async with serving_store(database_url, tmp_path, secrets_key=old) as store:
        await Tenant(store).put_secret("FIRST", "1")
    async with serving_store(database_url, tmp_path, secrets_key=f"{new},{old}") as store:
        await Tenant(store).put_secret("SECOND", "2")
        lease = (await store.create(worker_id="w1")).lease
        assert dict(lease.secrets) == {"FIRST": "1", "SECOND": "2"}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE secrets SET name = 'THIRD' WHERE name = 'SECOND'")
    async with serving_store(database_url, tmp_path, secrets_key=new) as store:
        lease = (await store.create(worker_id="w1")).lease
        # The key of the first is gone, and the other was sealed under another name.
        assert dict(lease.secrets) == {}


async def test_a_store_without_a_key_keeps_no_secrets(store: StoreClient) -> None:
    with pytest.raises(StateError, match="CREWMESH_SECRETS_KEY"):
        await Tenant(store).put_secret("MY_KEY", "value")


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "CREWMESH_X", "lower", "HTTPS_PROXY", ""])
async def test_a_secret_cannot_change_how_runs_work(
    database_url: str, tmp_path: Path, name: str
) -> None:
    async with serving_store(database_url, tmp_path, secrets_key=new_key()) as store:
        with pytest.raises(InvalidInputError):
            await Tenant(store).put_secret(name, "value")


async def test_viewers_and_operators_see_no_secrets(store: StoreClient) -> None:
    for role in ("viewer", "operator"):
        tenant = Tenant(store, role)
        request = tenant_pb2.ListSecretsRequest()
        with pytest.raises(ForbiddenError), rpc_errors():
            await tenant.tenants.ListSecrets(request, metadata=tenant.metadata)


async def test_a_wrong_policy_is_refused(store: StoreClient) -> None:
    tenant = Tenant(store)
    request = tenant_pb2.PutPolicyRequest(policy_json='{"tools": 5}')
    with pytest.raises(CrewmeshError, match="policy"), rpc_errors():
        await tenant.tenants.PutPolicy(request, metadata=tenant.metadata)


async def test_the_policy_comes_with_the_lease(store: StoreClient) -> None:
    tenant = Tenant(store)
    request = tenant_pb2.PutPolicyRequest(policy_json='{"hosts": {"allowed": ["a.example"]}}')
    await tenant.tenants.PutPolicy(request, metadata=tenant.metadata)
    known = await tenant.tenants.GetPolicy(tenant_pb2.GetPolicyRequest(), metadata=tenant.metadata)
    lease = (await store.create(worker_id="w1", policy_as_of=known.as_of)).lease
    assert '"a.example"' in lease.policy_json


async def test_no_run_is_taken_that_another_policy_admitted(store: StoreClient) -> None:
    tenant = Tenant(store)
    request = tenant_pb2.PutPolicyRequest(policy_json="{}")
    await tenant.tenants.PutPolicy(request, metadata=tenant.metadata)
    old = await tenant.tenants.GetPolicy(tenant_pb2.GetPolicyRequest(), metadata=tenant.metadata)
    await tenant.tenants.PutPolicy(request, metadata=tenant.metadata)
    for as_of in (None, old.as_of):
        with pytest.raises(StateError, match="policy was changed") as refused, rpc_errors():
            await store.create(policy_as_of=as_of)
        assert refused.value.reason == "POLICY_CHANGED"
