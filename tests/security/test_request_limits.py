"""One limit for all that an API key asks of the mesh, by whichever of its edges."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx2
import pytest

from crewmesh.common.errors import ExhaustedError, error_from_rpc
from crewmesh.common.grpc_client import agent_stub, open_channel
from crewmesh.v1.agent_pb2 import ListRunsRequest
from tests.conftest import API_KEY, new_database
from tests.integration.conftest import serving_store
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway, serving_gateway
from tests.security.conftest import CREDENTIAL, serving_worker

LIMIT = 40
EDGES = 3
SLACK = EDGES - 1


@contextlib.asynccontextmanager
async def serving_edges(
    postgres: str, directory: Path
) -> AsyncIterator[tuple[list[ServedGateway], grpc.aio.Channel]]:
    """Two gateways and a worker of one mesh."""
    limits = {"requests_per_minute": LIMIT, "address_requests_per_minute": LIMIT}
    async with contextlib.AsyncExitStack() as stack:
        database_url = stack.enter_context(new_database(postgres))
        store = await stack.enter_async_context(serving_store(database_url, directory))
        worker = await stack.enter_async_context(serving_worker(store, **limits))
        mesh = FakeMesh(worker_target=f"ipv4:{worker}", store_target=f"ipv4:127.0.0.1:{store.port}")
        gateways = [
            await stack.enter_async_context(serving_gateway(mesh, **limits)) for _ in range(2)
        ]
        channel = open_channel(f"ipv4:{worker}")
        stack.push_async_callback(channel.close)
        yield gateways, channel


async def by_grpc(channel: grpc.aio.Channel, key: str = API_KEY) -> ExhaustedError | None:
    """Ask a worker; return its refusal, if it is one of too many requests."""
    try:
        metadata = (("authorization", f"Bearer {key}"),)
        await agent_stub(channel).ListRuns(ListRunsRequest(), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        refusal = error_from_rpc(error)
        assert isinstance(refusal, ExhaustedError)
        return refusal
    return None


async def test_gateways_and_workers_share_a_keys_limit_and_other_keys_go_on(
    postgres: str, tmp_path: Path
) -> None:
    async with serving_edges(postgres, tmp_path) as (gateways, channel):
        first, second = (gateway.client for gateway in gateways)
        made = await first.post("/v1/api-keys", json={"name": "other"})
        other = made.json()["secret"]
        let_in, refused = 1, list[httpx2.Response]()
        # Until time gives one back, two more rounds at most are let in nowhere.
        while len(refused) < 2 * EDGES and let_in < 2 * LIMIT:
            for client in (first, second):
                answer = await client.get("/v1/me")
                let_in += answer.status_code == 200
                refused += [answer] if answer.status_code == 429 else []
            let_in += await by_grpc(channel) is None
        assert LIMIT <= let_in <= LIMIT + SLACK + 2

        told = refused[-1]
        assert told.json()["code"] == "too_many_requests"
        assert 1 <= int(told.headers["retry-after"]) <= 60
        assert told.headers["ratelimit-policy"] == f'"key";q={LIMIT};w=60'
        assert told.headers["ratelimit"].startswith('"key";r=0;t=')
        refusal = await by_grpc(channel)
        assert refusal is not None
        assert refusal.reason == "TOO_MANY_REQUESTS"
        assert refusal.retry_after_seconds is not None

        for client in (first, second):
            headers = {"Authorization": f"Bearer {other}"}
            assert (await client.get("/v1/me", headers=headers)).status_code == 200
        assert await by_grpc(channel, other) is None


async def test_an_organisation_lowers_the_limit_of_its_own_keys(
    postgres: str, tmp_path: Path
) -> None:
    async with serving_edges(postgres, tmp_path) as (gateways, _):
        client = gateways[0].client
        limits = {"max_running": None, "max_queued": 10, "crews": {}, "max_requests_per_minute": 5}
        assert (await client.put("/v1/limits", json=limits)).status_code == 200
        answer = await client.get("/v1/me")
        assert answer.headers["ratelimit-policy"] == '"key";q=5;w=60'


async def test_credentials_that_are_tried_count_for_the_address_over_grpc_too(
    postgres: str, tmp_path: Path
) -> None:
    async with serving_edges(postgres, tmp_path) as (_, channel):
        await agent_stub(channel).ListRuns(ListRunsRequest(), metadata=CREDENTIAL)
        codes = set()
        for n in range(LIMIT + SLACK + 5):
            guess = (("authorization", f"Bearer cm_guess-{n}"),)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await agent_stub(channel).ListRuns(ListRunsRequest(), metadata=guess)
            codes.add(raised.value.code())
        assert codes == {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert await by_grpc(channel) is None
