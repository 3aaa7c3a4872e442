from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from crewmesh.common.authentication import Authenticator
from crewmesh.common.errors import UnauthenticatedError
from crewmesh.common.identity import IdentitySigner
from crewmesh_gateway.mesh import SERVICE, Mesh
from crewmesh_gateway.schemas import ApiKey, CreatedApiKey, Me, Page
from tests.conftest import API_KEY, MESH_SECRET
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway, serving_gateway
from tests.integration.gateway.fake_store import OWNER

SIGNER = IdentitySigner(MESH_SECRET, SERVICE)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def authenticator(mesh: FakeMesh, clock: Clock) -> AsyncIterator[Authenticator]:
    connected = Mesh(mesh.worker_target, mesh.store_target, MESH_SECRET)
    yield Authenticator(connected.identities, SERVICE, clock=clock)
    await connected.close()


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        f"Basic {API_KEY}",
        API_KEY,
        "Bearer a b",
        "Bearer wrong",
        "Bearer é",
        "Bearer " + "x" * 10_000,
    ],
)
@pytest.mark.parametrize("path", ["/v1/me", "/v1/runs", "/v1/nowhere"])
async def test_without_a_valid_key_everything_under_v1_is_401(
    shared_gateway: ServedGateway, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    async with httpx2.AsyncClient(base_url=shared_gateway.url) as client:
        response = await client.post(path, headers=headers, content=b"not even JSON")

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "invalid_credentials"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"])
async def test_the_service_itself_needs_no_key(shared_gateway: ServedGateway, path: str) -> None:
    async with httpx2.AsyncClient(base_url=shared_gateway.url) as client:
        assert (await client.get(path)).status_code == 200


async def test_the_scheme_may_be_written_in_any_case(shared_gateway: ServedGateway) -> None:
    async with httpx2.AsyncClient(base_url=shared_gateway.url) as client:
        response = await client.get("/v1/me", headers={"Authorization": f"bearer {API_KEY}"})

    assert response.status_code == 200


async def test_me_shows_the_user_the_organisation_the_role_and_the_key(
    shared_client: httpx2.AsyncClient,
) -> None:
    me = (await shared_client.get("/v1/me")).json()

    Me.model_validate(me)
    assert me == {
        "user": {"id": OWNER.user_id, "email": "owner@example.org"},
        "org": {"id": OWNER.org_id, "name": "Example"},
        "role": "owner",
        "key": {"id": OWNER.api_key_id, "scopes": ["*"]},
    }


async def test_a_good_key_is_asked_for_again_after_ten_seconds(
    mesh: FakeMesh, authenticator: Authenticator, clock: Clock
) -> None:
    asked = []
    for now in (0, 9.99, 10, 19.99):
        clock.now = 1000.0 + now
        await authenticator.authenticate(API_KEY, SIGNER.metadata())
        asked.append(mesh.identities.authentications)

    assert asked == [1, 1, 2, 2]


async def test_a_bad_key_is_asked_for_again_after_one_second(
    mesh: FakeMesh, authenticator: Authenticator, clock: Clock
) -> None:
    asked = []
    for now in (0, 0.99, 1):
        clock.now = 1000.0 + now
        with pytest.raises(UnauthenticatedError, match="not valid"):
            await authenticator.authenticate("wrong", SIGNER.metadata())
        asked.append(mesh.identities.authentications)

    assert asked == [1, 1, 2]


async def test_concurrent_requests_with_one_key_ask_once(
    mesh: FakeMesh, authenticator: Authenticator
) -> None:
    mesh.identities.answering.clear()
    asking = [
        asyncio.create_task(authenticator.authenticate(API_KEY, SIGNER.metadata()))
        for _ in range(20)
    ]
    await asyncio.sleep(0)
    asking[0].cancel()
    mesh.identities.answering.set()

    callers = await asyncio.gather(*asking[1:])
    assert {caller.principal.user_id for caller in callers} == {OWNER.user_id}
    assert mesh.identities.authentications == 1


async def test_a_store_that_is_down_is_503_and_not_401(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    mesh.identities.down = True
    response = await client.get("/v1/me")

    assert response.status_code == 503
    assert "10.1.2.3" not in response.text


async def test_another_mesh_secret_is_our_fault_and_not_the_clients(mesh: FakeMesh) -> None:
    async with serving_gateway(mesh, mesh_secret="another-secret-0123456789-0123456789") as served:
        response = await served.client.get("/v1/me")

    assert response.status_code == 500
    assert "secret" not in response.text


async def test_api_keys_are_made_listed_used_and_revoked_at_once(
    mesh: FakeMesh, gateway: ServedGateway
) -> None:
    made = await gateway.client.post("/v1/api-keys", json={"name": "ci"})
    key = made.json()
    headers = {"Authorization": f"Bearer {key['secret']}"}
    used = await gateway.client.get("/v1/me", headers=headers)
    revoked = await gateway.client.delete(f"/v1/api-keys/{key['id']}")
    used_again = await gateway.client.get("/v1/me", headers=headers)
    listed = (await gateway.client.get("/v1/api-keys")).json()

    assert made.status_code == 201
    CreatedApiKey.model_validate(key)
    assert used.json()["key"]["id"] == key["id"]
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert used_again.status_code == 401
    Page[ApiKey].model_validate(listed)
    assert listed["items"][0]["revoked_at"] is not None
    assert key["secret"] not in str(listed)


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", None, 7])
async def test_a_key_needs_a_proper_name(shared_client: httpx2.AsyncClient, name: object) -> None:
    response = await shared_client.post("/v1/api-keys", json={"name": name})

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "name"]


async def test_revoking_no_key_is_404(shared_client: httpx2.AsyncClient) -> None:
    for key_id in ("0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a10", "nothing"):
        assert (await shared_client.delete(f"/v1/api-keys/{key_id}")).status_code == 404
