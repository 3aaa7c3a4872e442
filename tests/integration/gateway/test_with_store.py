"""The gateway against the real store, where the fake one could be wrong about it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import httpx2
import pytest

from crewmesh_gateway.schemas import CreatedApiKey, Dataset, Limits, Me, Page
from tests.integration.conftest import StoreClient
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway, serving_gateway


@pytest.fixture
async def gateway(mesh: FakeMesh, store: StoreClient) -> AsyncIterator[ServedGateway]:
    mesh.store_target = f"ipv4:127.0.0.1:{store.port}"
    async with serving_gateway(mesh) as served:
        yield served


async def test_a_dataset_goes_in_and_out_unchanged(client: httpx2.AsyncClient) -> None:
    content = os.urandom(3_000_000)
    files = {"file": ("numbers.parquet", content)}
    made = (await client.post("/v1/datasets", data={"name": "Zahlen"}, files=files)).json()
    Dataset.model_validate(made)
    listed = (await client.get("/v1/datasets?limit=1")).json()
    Page[Dataset].model_validate(listed)
    downloaded = await client.get(f"/v1/datasets/{made['id']}/content")

    assert listed["items"] == [made]
    assert (await client.get("/v1/datasets/Zahlen")).json() == made
    assert downloaded.content == content
    assert (await client.delete(f"/v1/datasets/{made['id']}")).status_code == 204
    assert (await client.get(f"/v1/datasets/{made['id']}")).status_code == 404


async def test_an_upload_that_breaks_off_leaves_nothing(
    client: httpx2.AsyncClient, store: StoreClient
) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield head + os.urandom(1_000_000)
        await asyncio.sleep(0.05)
        raise ConnectionError("the cable was pulled")

    for _ in range(5):
        with pytest.raises(ConnectionError):
            await client.post(
                "/v1/datasets",
                content=body(),
                headers={"Content-Type": "multipart/form-data; boundary=b"},
            )
    await client.post("/v1/datasets", files={"file": ("whole.csv", b"a\n1\n")})

    names = [dataset["name"] for dataset in (await client.get("/v1/datasets")).json()["items"]]
    assert names == ["whole.csv"]


async def test_keys_are_made_used_and_revoked(client: httpx2.AsyncClient) -> None:
    me = (await client.get("/v1/me")).json()
    Me.model_validate(me)
    key = (await client.post("/v1/api-keys", json={"name": "ci"})).json()
    CreatedApiKey.model_validate(key)
    headers = {"Authorization": f"Bearer {key['secret']}"}

    assert (await client.get("/v1/me", headers=headers)).json()["user"] == me["user"]
    assert (await client.delete(f"/v1/api-keys/{key['id']}")).status_code == 204
    assert (await client.get("/v1/me", headers=headers)).status_code == 401


async def test_limits_are_shown_and_replaced(client: httpx2.AsyncClient) -> None:
    limits = {
        "max_running": 2,
        "max_queued": 5,
        "crews": {"b": 1, "a": 3},
        "max_requests_per_minute": 9,
    }
    put = await client.put("/v1/limits", json=limits)
    shown = (await client.get("/v1/limits")).json()

    assert put.status_code == 200
    Limits.model_validate(shown)
    assert put.json() == shown == limits
    assert list(shown["crews"]) == ["a", "b"]


async def test_a_cursor_that_is_none_is_told_by_its_rest_name(client: httpx2.AsyncClient) -> None:
    response = await client.get("/v1/datasets?cursor=nonsense")

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["query", "cursor"]


async def test_ready_when_the_store_is(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/readyz")).json()["dependencies"]["store"] == "serving"
