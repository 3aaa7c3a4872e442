from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.browser.console import Console
from tests.e2e.conftest import Mesh

PASSWORD = "a long enough password"


async def add_user(mesh: Mesh, email: str, role: str) -> dict[str, Any]:
    body = {"email": email, "role": role, "password": PASSWORD}
    async with mesh.http.post("/v1/users", json=body) as response:
        assert response.status == 201, await response.text()
        user: dict[str, Any] = await response.json()
        return user


async def sign_in_by_password(console: Console, email: str, password: str = PASSWORD) -> None:
    await console.open("/sign-in")
    await console.button("Password").click()
    await console.page.get_by_label("E-mail address").fill(email)
    await console.page.get_by_label("Password", exact=True).fill(password)
    await console.button("Sign in").click()


async def test_a_key_signs_in_and_stays_out_of_reach_of_scripts(
    stranger: Console, mesh: Mesh
) -> None:
    await stranger.sign_in(mesh.api_key)
    await expect(stranger.page.get_by_text("owner@localhost")).to_be_visible()
    within_reach = await stranger.page.evaluate(
        "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])"
    )
    assert mesh.api_key not in within_reach
    assert "crewmesh-" not in within_reach
    (cookie,) = await stranger.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert mesh.api_key not in cookie["value"]


async def test_a_wrong_key_is_refused_with_words(stranger: Console) -> None:
    await stranger.open("/")
    await stranger.page.get_by_label("API key", exact=True).fill("cm_wrong")
    await stranger.button("Sign in").click()
    await expect(stranger.page.get_by_role("alert")).to_contain_text("not valid")
    assert await stranger.context.cookies() == []


async def test_who_comes_by_a_deep_link_is_there_after_signing_in(
    stranger: Console, mesh: Mesh
) -> None:
    await stranger.open("/crews/hello?tab=definition")
    await stranger.page.get_by_label("API key", exact=True).fill(mesh.api_key)
    await stranger.button("Sign in").click()
    await stranger.heading("hello")
    await expect(stranger.page.get_by_role("tab", name="Definition")).to_have_attribute(
        "aria-selected", "true"
    )


@pytest.mark.parametrize("elsewhere", ["//evil.example/", "https://evil.example/"])
async def test_a_link_cannot_lead_elsewhere_after_signing_in(
    stranger: Console, mesh: Mesh, elsewhere: str
) -> None:
    await stranger.open(f"/sign-in?next={elsewhere}")
    await stranger.page.get_by_label("API key", exact=True).fill(mesh.api_key)
    await stranger.button("Sign in").click()
    await stranger.heading("Runs")
    assert stranger.page.url.startswith(mesh.url)


async def test_signing_out_ends_it_also_for_the_back_button(console: Console) -> None:
    await console.open("/runs")
    await console.button("Sign out").click()
    await console.heading("Sign in to Crewmesh")
    assert await console.context.cookies() == []
    await console.open("/runs")
    await console.heading("Sign in to Crewmesh")


async def test_a_viewer_is_offered_only_what_a_viewer_may_do(stranger: Console, mesh: Mesh) -> None:
    run = await mesh.start_run("approved")
    await add_user(mesh, "viewer@example.org", "viewer")
    await sign_in_by_password(stranger, "viewer@example.org")

    await stranger.heading("Runs")
    await expect(stranger.page.get_by_text("viewer@example.org")).to_be_visible()
    await expect(stranger.page.get_by_role("link", name="New run")).to_have_count(0)
    await expect(stranger.page.get_by_role("link", name="Members")).to_have_count(0)
    await stranger.open(f"/runs/{run['id']}")
    await stranger.status("Waits for you")
    await expect(stranger.page.get_by_text("Your role can't answer runs")).to_be_visible()
    await expect(stranger.button("Cancel")).to_have_count(0)
    await expect(stranger.button("Approve")).to_have_count(0)
    await stranger.open("/members")
    await expect(stranger.page.get_by_role("alert")).to_contain_text("users.read")


async def test_a_wrong_password_is_refused(stranger: Console, mesh: Mesh) -> None:
    await add_user(mesh, "operator@example.org", "operator")
    await sign_in_by_password(stranger, "operator@example.org", "wrong")
    await expect(stranger.page.get_by_role("alert")).to_contain_text("is wrong")


async def test_two_tabs_whose_token_ran_out_renew_it_once_and_go_on(
    stranger: Console, mesh: Mesh
) -> None:
    await add_user(mesh, "tabs@example.org", "developer")
    await sign_in_by_password(stranger, "tabs@example.org")
    await stranger.heading("Runs")
    renewals: list[str] = []
    stranger.context.on(
        "request",
        lambda request: renewals.append(request.url) if "renew" in request.url else None,
    )
    tabs = [stranger.page, await stranger.context.new_page()]
    for tab in tabs:
        await refuse_once(tab)
        await tab.goto("/crews")
    for tab in tabs:
        await expect(tab.get_by_role("heading", name="hello", exact=True)).to_be_visible()
        await expect(tab.get_by_role("heading", level=1)).to_have_text("Crews")
    assert len(renewals) in (1, 2)


async def refuse_once(page: Any) -> None:
    """Have the gateway refuse the next list of crews, as it does when a token ran out."""

    asked = 0

    async def refuse(route: Any) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            await route.continue_()
        else:
            expired = {"code": "invalid_credentials", "detail": "expired"}
            await route.fulfill(status=401, json=expired)

    await page.route("**/v1/crews*", refuse)


async def test_a_session_that_was_ended_elsewhere_leads_to_the_sign_in(
    chromium: Browser, mesh: Mesh
) -> None:
    async with mesh.http.post("/v1/api-keys", json={"name": "short-lived"}) as response:
        key = await response.json()
    async with Console.opened(chromium, mesh.url) as console:
        await console.sign_in(key["secret"])
        async with mesh.http.delete(f"/v1/api-keys/{key['id']}") as response:
            assert response.status == 204
        await console.page.get_by_role("link", name="Fleet").click()
        await console.heading("Sign in to Crewmesh")
