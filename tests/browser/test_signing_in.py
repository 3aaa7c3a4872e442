from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser.console import Console
from tests.browser.gateway import second_gateway
from tests.e2e.conftest import Mesh

pytestmark = pytest.mark.long

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


async def test_a_password_is_changed_and_ends_every_sign_in(stranger: Console, mesh: Mesh) -> None:
    await add_user(mesh, "changer@example.org", "developer")
    await sign_in_by_password(stranger, "changer@example.org")
    await stranger.heading("Runs")
    await stranger.open("/keys")
    await stranger.page.get_by_label("Now").fill("not the password")
    await stranger.page.get_by_label("New, 12 characters or more").fill("another long password")
    change = stranger.button("Change it, and sign out everywhere")
    await change.click()
    await expect(stranger.page.get_by_role("alert")).to_contain_text("it is not right")
    await stranger.page.get_by_label("Now").fill(PASSWORD)
    await change.click()
    await stranger.heading("Sign in to Crewmesh")
    await sign_in_by_password(stranger, "changer@example.org")
    await expect(stranger.page.get_by_role("alert")).to_contain_text("is wrong")
    await sign_in_by_password(stranger, "changer@example.org", "another long password")
    await stranger.heading("Runs")


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


async def test_tabs_without_web_locks_renew_one_after_another(
    stranger: Console, mesh: Mesh
) -> None:
    # Browsers have locks for secure contexts only: not by plain HTTP from another machine.
    await stranger.context.add_init_script(
        "Object.defineProperty(navigator, 'locks', { value: undefined })"
    )
    await add_user(mesh, "lockless@example.org", "developer")
    await sign_in_by_password(stranger, "lockless@example.org")
    await stranger.heading("Runs")
    tabs = [stranger.page, *[await stranger.context.new_page() for _ in range(2)]]
    under_way = most = renewals = 0

    async def renew(route: Route) -> None:
        nonlocal under_way, most, renewals
        renewals += 1
        under_way += 1
        most = max(most, under_way)
        # Long enough for another tab to come with the same token, if it doesn't wait its turn.
        await asyncio.sleep(1)
        await route.continue_()
        under_way -= 1

    await stranger.context.route("**/v1/auth/session/renew", renew)
    for pause in (0, 2.5):
        # What was renewed just now isn't renewed again.
        await asyncio.sleep(pause)
        for tab in tabs:
            await refuse_once(tab)
        await asyncio.gather(*[tab.goto("/crews") for tab in tabs])
        for tab in tabs:
            await expect(tab.get_by_role("heading", name="hello", exact=True)).to_be_visible()
    assert most == 1
    assert renewals >= 2


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


@contextlib.asynccontextmanager
async def signed_in_by_a_key_of_its_own(
    chromium: Browser, mesh: Mesh
) -> AsyncIterator[tuple[Console, Callable[[], Awaitable[None]]]]:
    """Yield a browser, and how to end its session elsewhere."""
    async with mesh.http.post("/v1/api-keys", json={"name": "short-lived"}) as response:
        key = await response.json()

    async def end() -> None:
        async with mesh.http.delete(f"/v1/api-keys/{key['id']}") as response:
            assert response.status == 204

    async with Console.opened(chromium, mesh.url) as console:
        await console.sign_in(key["secret"])
        yield console, end


async def test_a_session_that_was_ended_elsewhere_leads_to_the_sign_in_and_back(
    chromium: Browser, mesh: Mesh
) -> None:
    async with signed_in_by_a_key_of_its_own(chromium, mesh) as (console, end):
        await console.page.get_by_role("link", name="Fleet").click()
        await console.heading("Fleet")
        await end()
        await console.follow("/runs?crew=hello&status=failed")
        await console.heading("Sign in to Crewmesh")
        await console.page.get_by_label("API key", exact=True).fill(mesh.api_key)
        await console.button("Sign in").click()
        await console.heading("Runs")
        await expect(console.page.get_by_label("Crew", exact=True)).to_have_value("hello")
        await expect(console.page.get_by_label("Status")).to_have_value("failed")


async def test_what_is_refused_to_an_ended_session_leads_to_the_sign_in(
    chromium: Browser, mesh: Mesh
) -> None:
    async with signed_in_by_a_key_of_its_own(chromium, mesh) as (console, end):
        await console.open("/runs/new?crew=hello")
        await console.page.get_by_label("Topic").fill("too late")
        await end()
        await console.button("Start the run").click()
        await console.heading("Sign in to Crewmesh")


async def test_events_that_an_ended_session_may_not_see_lead_to_the_sign_in(
    chromium: Browser, mesh: Mesh, tmp_path: Path
) -> None:
    run = await mesh.start_run("paced", words=20_000, pause_ms=10)
    async with second_gateway(mesh, tmp_path) as gateway:
        async with mesh.http.post("/v1/api-keys", json={"name": "short-lived"}) as response:
            key = await response.json()
        async with Console.opened(chromium, gateway.url) as console:
            await console.sign_in(key["secret"])
            await console.open(f"/runs/{run['id']}?tab=timeline")
            await expect(console.page.locator("[data-connection]")).to_have_text("Live")
            await gateway.kill()
            async with mesh.http.delete(f"/v1/api-keys/{key['id']}") as response:
                assert response.status == 204
            await gateway.start()
            await console.heading("Sign in to Crewmesh")
            assert "tab%3Dtimeline" in console.page.url
    async with mesh.http.post(f"/v1/runs/{run['id']}/cancel") as response:
        assert response.status == 200


async def test_without_a_gateway_pages_are_there_and_signing_out_says_what_is_wrong(
    chromium: Browser, mesh: Mesh, tmp_path: Path
) -> None:
    async with (
        second_gateway(mesh, tmp_path) as gateway,
        Console.opened(chromium, gateway.url) as console,
    ):
        async with console.page.expect_response("**/assets/Members-*.js"):
            await console.sign_in(mesh.api_key)
        await gateway.kill()
        await console.page.get_by_role("link", name="Crews").click()
        await console.heading("Crews")
        await console.button("Sign out").click()
        still = console.page.get_by_role("dialog", name="You are still signed in")
        await expect(still.get_by_role("alert")).to_contain_text("doesn't answer")
        await gateway.start()
        await console.button("Try again").click()
        await console.heading("Sign in to Crewmesh")


async def test_a_page_that_cannot_be_fetched_says_so_and_is_there_later(
    chromium: Browser, mesh: Mesh, tmp_path: Path
) -> None:
    async with (
        second_gateway(mesh, tmp_path) as gateway,
        Console.opened(chromium, gateway.url) as console,
    ):
        await console.page.route("**/assets/Crews-*.js", lambda route: route.abort())
        await console.sign_in(mesh.api_key)
        await console.page.get_by_role("link", name="Crews").click()
        await console.heading("This page can't be shown")
        # React tells what it was in the browser's log.
        console.faults.clear()
        await console.page.unroute("**/assets/Crews-*.js")
        await gateway.kill()
        await console.button("Try again").click()
        await expect(console.page.get_by_text("The gateway doesn't answer")).to_be_visible()
        await gateway.start()
        await console.button("Try again").click()
        await console.heading("Crews")
