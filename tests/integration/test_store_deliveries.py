"""Webhooks in the store: due in the transaction that ends the run, claimed by one worker at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crewmesh.common.errors import StateError
from crewmesh.common.grpc_client import delivery_stub, tenant_stub
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.v1 import agent_pb2, delivery_pb2, run_pb2, run_store_pb2, tenant_pb2
from crewmesh_store.deliveries.schedule import MAX_TRIES, next_pause
from tests.integration.conftest import (
    StoreClient,
    append,
    ending,
    event,
    new_key,
    serving_store,
)

HOOK = agent_pb2.Webhook(url="https://example.com/hook")
SIGNED = agent_pb2.Webhook(url=HOOK.url, secret="hidden")


class Deliveries:
    """The service as a worker sees it."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store
        self._stub = delivery_stub(store.channel)

    async def claim(self, limit: int = 10, hold: float = 60) -> list[delivery_pb2.Delivery]:
        request = delivery_pb2.ClaimDeliveriesRequest(limit=limit)
        request.hold.FromTimedelta(timedelta(seconds=hold))
        response = await self._stub.ClaimDeliveries(request, metadata=self._store.service)
        return list(response.deliveries)

    async def report(self, delivery: delivery_pb2.Delivery, status: int, **fields: Any) -> None:
        request = delivery_pb2.ReportDeliveryRequest(
            run_id=delivery.run.id, tries=delivery.tries, status=status, **fields
        )
        await self._stub.ReportDelivery(request, metadata=self._store.service)


async def finished(
    store: StoreClient, webhook: agent_pb2.Webhook = HOOK, **spec: Any
) -> run_store_pb2.Lease:
    created = await store.create("w", webhook=webhook, **spec)
    assert await store.append(ending(created.lease, 3)) == ["STORED"]
    return created.lease


async def test_a_run_that_has_ended_is_delivered_with_its_tasks(store: StoreClient) -> None:
    created = await store.create("w", webhook=HOOK)
    deliveries = Deliveries(store)
    assert (await store.get(created.run.id)).webhook.status == "waiting"
    assert await deliveries.claim() == []
    task = event("task.started", '{"index": 0}', task="t")
    await store.append(append(created.lease, 3, task))
    await store.append(ending(created.lease, 4))
    (delivery,) = await deliveries.claim()
    assert (delivery.url, delivery.secret, delivery.tries) == (HOOK.url, "", 1)
    assert delivery.run.status == run_pb2.RUN_STATUS_SUCCEEDED
    assert [task.name for task in delivery.run.tasks] == ["t"]
    await deliveries.report(delivery, 204)
    state = (await store.get(created.run.id)).webhook
    assert (state.status, state.tries, state.last_status) == ("delivered", 1, 204)
    for status, found in (("delivered", [created.run.id]), ("failed", []), ("", [created.run.id])):
        request = agent_pb2.ListRunsRequest(webhook=status)
        listed = await store.runs.ListRuns(request, metadata=store.person)
        assert [run.id for run in listed.runs] == found
    assert state.HasField("delivered_at")
    assert await deliveries.claim() == []


def kept(database_url: str) -> tuple[str, str, bytes | None]:
    """Return the one delivery as text, its secret in clear, and sealed."""
    with psycopg.connect(database_url) as connection:
        (row,) = connection.execute("SELECT d::text, secret, sealed FROM deliveries d").fetchall()
    return row[0], row[1], row[2]


async def test_a_secret_is_sealed_at_rest_opened_when_claimed_and_forgotten_when_it_is_over(
    database_url: str, tmp_path: Path
) -> None:
    async with serving_store(database_url, tmp_path, secrets_key=new_key()) as store:
        lease = await finished(store, SIGNED)
        text, clear, sealed = kept(database_url)
        assert (clear, sealed is None) == ("", False)
        assert "hidden" not in text
        assert b"hidden".hex() not in text
        deliveries = Deliveries(store)
        (delivery,) = await deliveries.claim()
        assert delivery.secret == "hidden"
        await deliveries.report(delivery, 500, error="no")
        assert kept(database_url)[2] == sealed
        await deliveries.report(delivery, 200)
        assert kept(database_url)[1:] == ("", None)
        assert "hidden" not in str(await store.get(lease.run.id))


async def test_a_secret_that_no_key_opens_is_not_sent_unsigned(
    database_url: str, tmp_path: Path
) -> None:
    key = new_key()
    settings: dict[str, Any] = {"webhook_retry_seconds": 1e-9}
    async with serving_store(database_url, tmp_path, secrets_key=key, **settings) as store:
        lease = await finished(store, SIGNED)
    async with serving_store(database_url, tmp_path, secrets_key=new_key(), **settings) as store:
        assert await Deliveries(store).claim() == []
        state = (await store.get(lease.run.id)).webhook
        assert (state.status, state.tries) == ("due", 1)
        assert "CREWMESH_SECRETS_KEY" in state.last_error
    async with serving_store(database_url, tmp_path, secrets_key=key, **settings) as store:
        assert [d.secret for d in await Deliveries(store).claim()] == ["hidden"]


async def test_a_store_without_a_key_takes_no_secret_and_says_what_to_set(
    store: StoreClient,
) -> None:
    with pytest.raises(StateError, match="CREWMESH_SECRETS_KEY") as refused, rpc_errors():
        await store.create(webhook=SIGNED)
    assert refused.value.reason == "SECRETS_NOT_CONFIGURED"


async def test_secrets_that_were_kept_in_clear_are_sealed_when_the_store_starts(
    database_url: str, tmp_path: Path
) -> None:
    async with serving_store(database_url, tmp_path) as store:
        await finished(store)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("UPDATE deliveries SET secret = 'hidden'")
    # Without a key it can only be used as it is.
    async with serving_store(database_url, tmp_path) as store:
        assert [d.secret for d in await Deliveries(store).claim(hold=0)] == ["hidden"]
    async with serving_store(database_url, tmp_path, secrets_key=new_key()) as store:
        assert kept(database_url)[1] == ""
        assert [d.secret for d in await Deliveries(store).claim()] == ["hidden"]


async def test_the_tenants_policy_comes_with_the_webhook(store: StoreClient) -> None:
    await finished(store)
    deliveries = Deliveries(store)
    (delivery,) = await deliveries.claim(hold=0)
    assert delivery.policy_json == ""
    tenants = tenant_stub(store.channel)
    request = tenant_pb2.PutPolicyRequest(policy_json='{"hosts": {"allowed": ["a.example"]}}')
    await tenants.PutPolicy(request, metadata=store.person)
    (delivery,) = await deliveries.claim()
    assert '"a.example"' in delivery.policy_json


async def end_by_cancel(store: StoreClient, run_id: str, url: str) -> None:
    request = agent_pb2.CancelRunRequest(run_id=run_id)
    await store.runs.CancelRun(request, metadata=store.person)


async def end_by_loss(store: StoreClient, run_id: str, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE runs SET max_attempts = 1, lease_expires_at = now() - interval '1 s',"
            " status = 'running', worker_id = 'w', epoch = 1 WHERE id = %s",
            [run_id],
        )


@pytest.mark.parametrize("end", [end_by_cancel, end_by_loss])
async def test_however_a_run_ends_its_webhook_is_due(
    store: StoreClient, database_url: str, end: Any
) -> None:
    created = await store.create(webhook=HOOK)
    await end(store, created.run.id, database_url)
    events = await store.watch(created.run.id)
    assert events[-1].type in ("run.cancelled", "run.failed")
    assert [d.run.id for d in await Deliveries(store).claim()] == [created.run.id]


async def test_an_attempt_that_is_tried_again_is_no_end(store: StoreClient) -> None:
    created = await store.create("w", webhook=HOOK)
    back = append(
        created.lease, 3, event("run.queued"), status=run_pb2.RUN_STATUS_QUEUED,
        error=run_pb2.RunError(code="runner_died", message="died"),
    )  # fmt: skip
    assert await store.append(back) == ["STORED"]
    assert await Deliveries(store).claim() == []


async def test_many_workers_that_claim_at_once_get_each_webhook_once(store: StoreClient) -> None:
    leases = [await finished(store) for _ in range(12)]
    deliveries = Deliveries(store)
    claims = await asyncio.gather(*(deliveries.claim(limit=2) for _ in range(12)))
    claimed = sorted(delivery.run.id for part in claims for delivery in part)
    assert claimed == sorted(lease.run.id for lease in leases)


async def test_a_claim_that_is_not_reported_is_made_again_and_its_late_report_counts_for_nothing(
    store: StoreClient,
) -> None:
    lease = await finished(store)
    deliveries = Deliveries(store)
    (lost,) = await deliveries.claim(hold=0)
    (second,) = await deliveries.claim()
    assert (second.run.id, second.tries) == (lease.run.id, 2)
    await deliveries.report(lost, 200)
    assert (await store.get(lease.run.id)).webhook.status == "due"
    await deliveries.report(second, 200)
    assert (await store.get(lease.run.id)).webhook.status == "delivered"


async def test_what_is_not_taken_is_tried_again_and_given_up_in_the_end(
    database_url: str, tmp_path: Path
) -> None:
    async with serving_store(database_url, tmp_path, webhook_retry_seconds=1e-9) as store:
        lease = await finished(store)
        deliveries = Deliveries(store)
        for tries in range(1, MAX_TRIES + 1):
            (delivery,) = await deliveries.claim()
            assert delivery.tries == tries
            await deliveries.report(delivery, 500, error="no")
        state = (await store.get(lease.run.id)).webhook
        assert (state.status, state.last_error) == ("failed", "no")
        assert await deliveries.claim() == []


async def test_what_trying_again_cannot_mend_is_given_up_at_once(store: StoreClient) -> None:
    lease = await finished(store)
    deliveries = Deliveries(store)
    (delivery,) = await deliveries.claim()
    await deliveries.report(delivery, 0, error="it isn't public", final=True)
    assert (await store.get(lease.run.id)).webhook.status == "failed"


async def test_a_run_without_a_webhook_has_none(store: StoreClient) -> None:
    created = await store.create("w")
    await store.append(ending(created.lease, 3))
    assert not (await store.get(created.run.id)).HasField("webhook")
    assert await Deliveries(store).claim() == []


def test_each_pause_is_four_times_the_one_before_up_to_six_hours() -> None:
    first = timedelta(seconds=5)
    pauses = [next_pause(tries, first) for tries in range(1, MAX_TRIES + 1)]
    assert [pause and pause.total_seconds() for pause in pauses] == [
        5, 20, 80, 320, 1280, 5120, 20480, None,
    ]  # fmt: skip
    assert next_pause(2, timedelta(hours=2)) == timedelta(hours=6)
