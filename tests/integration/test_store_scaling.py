"""KEDA, played with stubs made from its interface, asks a real store over a real Postgres."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import psycopg
import pytest

from crewmesh.common.grpc_client import run_store_stub
from crewmesh.v1 import agent_pb2, run_pb2
from crewmesh.v1.limit_pb2 import CrewLimit, Limits
from crewmesh_store.scaling import servicer
from crewmesh_store.service import Store
from crewmesh_store.settings import StoreSettings
from externalscaler import externalscaler_pb2 as keda
from externalscaler import externalscaler_pb2_grpc
from tests.conftest import API_KEY, MESH_SECRET
from tests.integration.conftest import StoreClient, append, ending, event, serving
from tests.integration.test_store_limits import set_limits
from tests.integration.test_store_runs import Attached

TOKEN = "token-of-the-scaler-0123456789abcdef"


class Keda:
    """Asks as KEDA's external scaler does: every call carries the trigger's whole metadata."""

    def __init__(self, channel: grpc.aio.Channel, **metadata: str) -> None:
        self.channel = channel
        self.stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)
        # KEDA resolves a key that ends in FromEnv, and keeps the key.
        given = {"scalerAddress": "store:8083", "tokenFromEnv": TOKEN, **metadata}
        self.ref = keda.ScaledObjectRef(
            name="agent-worker", namespace="crewmesh", scalerMetadata=given
        )

    async def spec(self) -> tuple[str, float]:
        (spec,) = (await self.stub.GetMetricSpec(self.ref)).metricSpecs
        assert spec.targetSize == round(spec.targetSizeFloat)
        return spec.metricName, spec.targetSizeFloat

    async def value(self) -> float:
        name, _ = await self.spec()
        request = keda.GetMetricsRequest(scaledObjectRef=self.ref, metricName=name)
        (metric,) = (await self.stub.GetMetrics(request)).metricValues
        assert metric.metricName == name
        return metric.metricValueFloat

    async def is_active(self) -> bool:
        return (await self.stub.IsActive(self.ref)).result


@pytest.fixture
async def scaled(
    database_url: str, tmp_path: Path
) -> AsyncIterator[tuple[StoreClient, Callable[..., Keda]]]:
    """A store that KEDA may ask, and a KEDA for a trigger with this metadata."""
    store = Store(
        StoreSettings(
            database_url=database_url,
            mesh_secret=MESH_SECRET,
            object_store_url=f"file://{tmp_path}/objects",
            bootstrap_api_key=API_KEY,
            store_address="127.0.0.1:0",
            scaler_address="127.0.0.1:0",
            scaler_token=TOKEN,
        )
    )
    async with serving(store) as client, contextlib.AsyncExitStack() as stack:
        address = f"127.0.0.1:{store.scaler_port}"
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        yield client, lambda **metadata: Keda(channel, **metadata)


Scaled = tuple[StoreClient, Callable[..., Keda]]


async def test_an_idle_mesh_asks_for_nothing(scaled: Scaled) -> None:
    _, keda_of = scaled
    assert not await keda_of().is_active()
    assert await keda_of().value() == 0
    assert await keda_of(metric="age").value() == 0


async def test_demand_is_what_runs_and_what_could(scaled: Scaled) -> None:
    store, keda_of = scaled
    await store.create(worker_id="w1")
    for _ in range(2):
        await store.create()
    assert await keda_of(metric="demand").value() == 3
    assert await keda_of().is_active()


async def test_what_has_ended_or_waits_for_a_person_needs_no_worker(scaled: Scaled) -> None:
    store, keda_of = scaled
    for _ in range(2):
        await store.create()
    worker = Attached(store, "w1")
    await worker.say(free_slots=2, hello=True)
    ended, waiting = await worker.lease(), await worker.lease()
    await store.append(ending(ended, ended.next_seq))
    asked = event("input.requested")
    await store.append(append(waiting, waiting.next_seq, asked, status=run_pb2.RUN_STATUS_WAITING))
    assert await keda_of().value() == 0
    assert not await keda_of().is_active()


@pytest.mark.parametrize(
    ("limits", "demand"),
    [
        (Limits(max_queued=100), 5),
        (Limits(max_queued=100, max_running=2), 2),
        (Limits(max_queued=100, crews=[CrewLimit(crew="hello", max_running=3)]), 3),
        (Limits(max_queued=100, crews=[CrewLimit(crew="another", max_running=1)]), 5),
    ],
)
async def test_runs_that_a_limit_holds_back_ask_for_no_worker(
    scaled: Scaled, limits: Limits, demand: int
) -> None:
    store, keda_of = scaled
    await set_limits(store, limits)
    for _ in range(5):
        await store.create()
    assert await keda_of().value() == demand


async def test_age_is_how_long_the_oldest_run_that_could_start_has_waited(
    scaled: Scaled, database_url: str
) -> None:
    store, keda_of = scaled
    for _ in range(2):
        await store.create()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE runs SET available_at = now() - interval '90 s' WHERE id ="
            " (SELECT id FROM runs ORDER BY id LIMIT 1)"
        )
    assert 90 <= await keda_of(metric="age").value() < 3600


async def test_a_run_that_waits_for_its_next_attempt_is_not_counted(
    scaled: Scaled, database_url: str
) -> None:
    store, keda_of = scaled
    await store.create()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE runs SET available_at = now() + interval '1 hour'")
    assert await keda_of().value() == 0


@pytest.mark.parametrize(
    ("metadata", "spec"),
    [
        ({}, ("crewmesh-demand", 8)),
        ({"metric": "demand", "target": "12.5"}, ("crewmesh-demand", 12.5)),
        ({"metric": "age"}, ("crewmesh-age", 30)),
        ({"metric": "age", "target": "5"}, ("crewmesh-age", 5)),
    ],
)
async def test_a_trigger_says_its_metric_and_target(
    scaled: Scaled, metadata: dict[str, str], spec: tuple[str, float]
) -> None:
    _, keda_of = scaled
    assert await keda_of(**metadata).spec() == spec


@pytest.mark.parametrize(
    "metadata", [{"metric": "memory"}, {"target": "0"}, {"target": "many"}, {"target": "nan"}]
)
async def test_a_trigger_that_cannot_be_is_refused(
    scaled: Scaled, metadata: dict[str, str]
) -> None:
    _, keda_of = scaled
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await keda_of(**metadata).spec()
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "metadata", [{"tokenFromEnv": ""}, {"tokenFromEnv": TOKEN[:-1]}, {"tokenFromEnv": "ü"}]
)
async def test_without_the_token_nothing_is_told(scaled: Scaled, metadata: dict[str, str]) -> None:
    _, keda_of = scaled
    asking = keda_of(**metadata)
    for ask in (asking.is_active, asking.spec):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask()
        assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await anext(aiter(asking.stub.StreamIsActive(asking.ref)))
    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_stream_tells_at_once_and_whenever_it_changes(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servicer, "_LOOK_SECONDS", 0.01)
    store, keda_of = scaled
    asking = keda_of()
    answers = aiter(asking.stub.StreamIsActive(asking.ref))
    assert not (await anext(answers)).result
    run_id = (await store.create()).run.id
    assert (await anext(answers)).result
    worker = Attached(store, "w1")
    await worker.say(free_slots=1, hello=True)
    lease = await worker.lease()
    assert lease.run.id == run_id
    await store.append(ending(lease, lease.next_seq))
    assert not (await anext(answers)).result


async def test_keda_reaches_nothing_else_and_the_mesh_serves_no_scaler(scaled: Scaled) -> None:
    store, keda_of = scaled
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run_store_stub(keda_of().channel).ListRuns(
            agent_pb2.ListRunsRequest(), metadata=store.person
        )
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await Keda(store.channel).is_active()
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
