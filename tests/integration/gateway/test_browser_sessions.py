"""Sign-in for browsers: a cookie instead of a key, taken from our own pages only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.conftest import API_KEY
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway, serving_gateway
from tests.integration.gateway.fake_store import OWNER, PASSWORD

SESSION = "/v1/auth/session"


@pytest.fixture
async def browser(gateway: ServedGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """One that keeps cookies and says, as browsers do, from where it asks."""
    headers = {"Origin": gateway.url}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as client:
        yield client


async def sign_in(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post(SESSION, json={"api_key": API_KEY})
    assert answer.status_code == 200
    assert answer.json()["signed_in"] is True


async def test_a_browser_signs_in_with_a_key_and_calls_the_api_by_its_cookie(
    browser: httpx2.AsyncClient,
) -> None:
    assert (await browser.get(SESSION)).json() == {"signed_in": False, "renew_in_seconds": None}
    assert (await browser.get("/v1/me")).status_code == 401

    await sign_in(browser)

    assert (await browser.get("/v1/me")).json()["user"]["id"] == OWNER.user_id
    state = (await browser.get(SESSION)).json()
    assert state["signed_in"] is True
    assert 0 < state["renew_in_seconds"] <= 6 * 3600


async def test_no_answer_holds_the_key(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post(SESSION, json={"api_key": API_KEY})
    assert API_KEY not in json.dumps([*answer.headers.items(), answer.text])
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"api_key": "cm_wrong"}, 401),
        ({"api_key": "with space"}, 422),
        ({}, 422),
        ({"email": OWNER.email}, 422),
        ({"api_key": API_KEY, "email": OWNER.email, "password": PASSWORD}, 422),
        ({"email": OWNER.email, "password": "wrong"}, 401),
    ],
)
async def test_without_one_valid_credential_there_is_no_session(
    browser: httpx2.AsyncClient, body: dict[str, str], status: int
) -> None:
    answer = await browser.post(SESSION, json=body)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
async def test_another_sites_page_changes_nothing_with_the_cookie(
    mesh: FakeMesh, browser: httpx2.AsyncClient, origin: str | None
) -> None:
    await sign_in(browser)
    run = mesh.agents.make_run().run
    for method, path in (
        ("POST", f"/v1/runs/{run.id}/cancel"),
        ("DELETE", f"/v1/api-keys/{OWNER.api_key_id}"),
        ("POST", f"{SESSION}/renew"),
        ("DELETE", SESSION),
    ):
        request = browser.build_request(method, path)
        del request.headers["Origin"]
        if origin is not None:
            request.headers["Origin"] = origin
        answer = await browser.send(request)
        assert answer.status_code == 403
        assert answer.json()["code"] == "cross_origin"
    assert not run.HasField("cancel_requested_at")


async def test_another_sites_page_cannot_sign_a_browser_in(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post(
        SESSION, json={"api_key": API_KEY}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_a_header_counts_for_more_than_the_cookie(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    answer = await browser.get("/v1/me", headers={"Authorization": "Bearer cm_wrong"})
    assert answer.status_code == 401


async def test_a_session_is_good_at_another_gateway_and_after_a_restart(
    mesh: FakeMesh, browser: httpx2.AsyncClient
) -> None:
    await sign_in(browser)
    async with (
        serving_gateway(mesh) as other,
        httpx2.AsyncClient(base_url=other.url, cookies=browser.cookies) as client,
    ):
        assert (await client.get("/v1/me")).status_code == 200


async def test_a_revoked_key_ends_its_session(mesh: FakeMesh, browser: httpx2.AsyncClient) -> None:
    created = (await browser.post(SESSION, json={"api_key": API_KEY})) and (
        await browser.post("/v1/api-keys", json={"name": "short"})
    ).json()
    await browser.post(SESSION, json={"api_key": created["secret"]})
    assert (await browser.get("/v1/me")).json()["key"]["id"] == created["id"]

    await browser.delete(f"/v1/api-keys/{created['id']}")

    assert (await browser.get("/v1/me")).status_code == 401
    assert (await browser.post(f"{SESSION}/renew")).status_code == 401


async def test_signing_out_forgets_the_session(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    assert (await browser.delete(SESSION)).status_code == 204
    assert (await browser.get(SESSION)).json()["signed_in"] is False
    assert (await browser.get("/v1/me")).status_code == 401
    assert (await browser.delete(SESSION)).status_code == 204


async def test_a_password_gives_tokens_that_are_renewed_and_ended(
    mesh: FakeMesh, browser: httpx2.AsyncClient
) -> None:
    body = {"email": OWNER.email, "password": PASSWORD}
    state = (await browser.post(SESSION, json=body)).json()
    assert 0 < state["renew_in_seconds"] < 600
    first = dict(browser.cookies)
    assert (await browser.get("/v1/me")).json()["key"] is None

    assert (await browser.post(f"{SESSION}/renew")).status_code == 200
    assert dict(browser.cookies) != first
    assert (await browser.get("/v1/me")).status_code == 200

    assert (await browser.delete(SESSION)).status_code == 204
    assert mesh.identities.refresh_tokens == set()


async def test_events_are_streamed_by_the_cookie(
    mesh: FakeMesh, browser: httpx2.AsyncClient
) -> None:
    await sign_in(browser)
    fake = mesh.agents.make_run()
    await fake.append("run.queued")
    await fake.end()
    headers = {"Accept": "text/event-stream"}
    answer = await browser.get(f"/v1/runs/{fake.run.id}/events", headers=headers)
    assert answer.status_code == 200
    assert answer.text.count("event: ") == 2


async def test_people_get_the_console_and_programs_get_json(shared_gateway: ServedGateway) -> None:
    async with httpx2.AsyncClient(base_url=shared_gateway.url) as client:
        assert (await client.get("/")).json()["service"] == "crewmesh"
        page = await client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
