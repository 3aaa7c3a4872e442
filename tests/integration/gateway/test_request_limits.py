"""Requests that come too often: 429, and who else still gets through."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import websockets
from websockets.asyncio.client import connect

from tests.conftest import API_KEY
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway, serving_gateway
from tests.integration.gateway.test_errors import check_problem

LIMIT = 6
ADDRESS_LIMIT = 12
STRANGER = {"Authorization": "Bearer cm_nobodys"}


@pytest.fixture
async def served(mesh: FakeMesh) -> AsyncIterator[ServedGateway]:
    async with serving_gateway(
        mesh,
        requests_per_minute=LIMIT,
        address_requests_per_minute=ADDRESS_LIMIT,
        trusted_proxies="127.0.0.0/8, ::1",
    ) as served:
        yield served


async def use_up(client: httpx2.AsyncClient, times: int, **request: Any) -> list[httpx2.Response]:
    return [await client.get("/v1/me", **request) for _ in range(times)]


async def test_a_keys_answers_tell_what_is_left_and_the_next_is_429(
    served: ServedGateway, mesh: FakeMesh
) -> None:
    answers = await use_up(served.client, LIMIT)
    assert [answer.status_code for answer in answers] == [200] * LIMIT
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=6;w=60'}
    left = [answer.headers["ratelimit"].partition(";t=") for answer in answers]
    assert [told for told, _, _ in left] == [f'"key";r={n}' for n in reversed(range(LIMIT))]
    assert 50 <= int(left[-1][2]) <= 60

    refused = await served.client.get("/v1/me")
    problem = check_problem(refused, 429)
    assert problem["code"] == "too_many_requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
    # Neither the mesh nor a route was asked.
    assert (await served.client.get("/v1/nothing")).status_code == 429


async def test_other_keys_and_people_go_on(served: ServedGateway, mesh: FakeMesh) -> None:
    mesh.identities.secrets |= {"cm_other": "other", "of-a-person": ""}
    await use_up(served.client, LIMIT + 1)
    for credential, kind in (("cm_other", "key"), ("of-a-person", "user")):
        headers = {"Authorization": f"Bearer {credential}"}
        answer = await served.client.get("/v1/me", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["ratelimit"].startswith(f'"{kind}";r=5;')


async def test_without_a_good_credential_the_address_is_limited(served: ServedGateway) -> None:
    await use_up(served.client, 1)
    answers = await use_up(served.client, ADDRESS_LIMIT, headers=STRANGER)
    assert [answer.status_code for answer in answers] == [401] * (ADDRESS_LIMIT - 1) + [429]
    assert answers[-1].headers["ratelimit-policy"] == '"address";q=12;w=60'
    for path in ("/v1/auth/providers", "/.well-known/jwks.json", "/openapi.json", "/nothing"):
        assert (await served.client.get(path)).status_code == 429
    # Who is known to be good needs no address, and what watches us isn't counted.
    assert (await served.client.get("/v1/me")).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics"):
        answer = await served.client.get(path)
        assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)


async def test_a_proxy_that_is_trusted_says_whose_a_request_is(served: ServedGateway) -> None:
    async def ask(forwarded_for: str) -> int:
        headers = {**STRANGER, "X-Forwarded-For": forwarded_for}
        return (await served.client.get("/v1/me", headers=headers)).status_code

    assert {await ask("203.0.113.1") for _ in range(ADDRESS_LIMIT)} == {401}
    assert await ask("203.0.113.1") == 429
    # What a client says itself stands before what the proxy adds.
    assert await ask("198.51.100.9, 203.0.113.1") == 429
    assert await ask("203.0.113.2") == 401
    assert {await ask(f"2001:db8:0:1::{n:x}") for n in range(ADDRESS_LIMIT)} == {401}
    assert await ask("2001:db8:0:1:ffff::1") == 429
    assert await ask("2001:db8:0:2::1") == 401


async def test_no_proxy_is_trusted_without_the_setting(mesh: FakeMesh) -> None:
    async with serving_gateway(mesh, address_requests_per_minute=3) as served:
        answers = [
            await served.client.get(
                "/v1/me", headers={**STRANGER, "X-Forwarded-For": f"203.0.113.{n}"}
            )
            for n in range(4)
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]


async def test_operations_of_a_web_socket_count_as_requests(served: ServedGateway) -> None:
    url = served.url.replace("http", "ws") + "/graphql"
    protocol: Any = "graphql-transport-ws"
    async with connect(url, subprotocols=[protocol]) as socket:

        async def send(**message: Any) -> dict[str, Any]:
            await socket.send(json.dumps(message))
            return json.loads(await socket.recv())

        said = {"authorization": f"Bearer {API_KEY}"}
        assert (await send(type="connection_init", payload=said))["type"] == "connection_ack"
        for n in range(LIMIT):
            answer = await send(id=str(n), type="subscribe", payload={"query": "{ __typename }"})
            assert answer == {
                "id": str(n), "type": "next", "payload": {"data": {"__typename": "Query"}},
            }  # fmt: skip
            assert json.loads(await socket.recv())["type"] == "complete"
        answer = await send(id="more", type="subscribe", payload={"query": "{ __typename }"})
        told = answer["payload"]
        fault = (told["errors"] if isinstance(told, dict) else told)[0]
        assert fault["extensions"]["code"] == "too_many_requests"
        assert fault["extensions"]["status"] == 429
    assert (await served.client.get("/v1/me")).status_code == 429


async def test_sockets_are_opened_as_often_as_requests_are_taken(served: ServedGateway) -> None:
    url = served.url.replace("http", "ws") + "/graphql"
    await use_up(served.client, ADDRESS_LIMIT, headers=STRANGER)
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connect(url):
            pass
    assert refused.value.response.status_code in (403, 429)


async def test_zero_is_no_limit(mesh: FakeMesh) -> None:
    async with serving_gateway(mesh, requests_per_minute=0, address_requests_per_minute=0) as off:
        answers = await use_up(off.client, 20)
    assert {answer.status_code for answer in answers} == {200}
    assert not any("ratelimit" in answer.headers for answer in answers)
    assert not mesh.limits.seconds_taken


async def test_without_a_store_to_ask_the_gateway_counts_alone(
    served: ServedGateway, mesh: FakeMesh
) -> None:
    await use_up(served.client, 1)
    await mesh.store.stop(0)
    answers = await use_up(served.client, LIMIT)
    assert [answer.status_code for answer in answers] == [200] * (LIMIT - 1) + [429]
