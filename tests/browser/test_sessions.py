from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.console import Console
from tests.e2e.conftest import Mesh

pytestmark = pytest.mark.long


async def test_a_conversation_is_begun_held_found_again_and_deleted(
    console: Console, mesh: Mesh
) -> None:
    await console.open("/sessions")
    await console.button("New conversation").click()
    await console.choose("Crew", "talker")
    await console.page.get_by_label("Title").fill("About the weather")
    await console.button("Begin").click()
    await console.heading("About the weather")

    words = console.page.get_by_label("Say something")
    said = console.page.get_by_role("list", name="What was said").get_by_role("listitem")
    await words.fill("hello there")
    await console.page.keyboard.press("Enter")
    await expect(said).to_have_count(2)
    await expect(said.nth(1)).to_contain_text("heard 'hello there' after 0 lines")
    await expect(words).to_have_value("")
    await words.fill("pause 2000 ms, please")
    await console.button("Say it").click()
    await expect(console.page.get_by_text("Answering")).to_be_visible()
    await expect(said.nth(3)).to_contain_text("after 2 lines")
    await expect(console.page.get_by_text("Answering")).to_have_count(0)
    await words.fill("fail")
    await console.button("Say it").click()
    await expect(said.nth(5)).to_contain_text("No answer")

    await said.nth(1).get_by_role("link").click()
    await console.status("Succeeded")
    await console.tab("Details")
    await console.page.get_by_role("row", name="Session").get_by_role("link").click()
    await console.heading("About the weather")
    await console.page.get_by_role("link", name="Its runs").click()
    await expect(console.page.locator("tbody tr")).to_have_count(3)

    await console.page.get_by_role("link", name="Conversations").click()
    row = console.page.get_by_role("row", name="About the weather")
    await expect(row.get_by_role("cell").nth(2)).to_have_text("3")
    await row.get_by_role("link").click()
    await console.button("Delete the conversation").click()
    await console.button("Delete it").click()
    await console.heading("Conversations")
    await expect(row).to_have_count(0)


async def test_what_a_conversations_run_asks_is_answered_there(
    console: Console, mesh: Mesh
) -> None:
    """A crew that can be talked to and has its answer approved."""
    talker = (await mesh.get("/v1/crews/talker"))["definition"]
    talker["crew"]["tasks"][0]["human_input"] = True
    body = {**talker, "name": "approved-talker"}
    async with mesh.http.put("/v1/crews/approved-talker", json=body) as response:
        assert response.status == 201, await response.text()
    async with mesh.http.post("/v1/sessions", json={"crew": "approved-talker"}) as response:
        session = await response.json()
    await console.open(f"/sessions/{session['id']}")
    await console.page.get_by_label("Say something").fill("may I?")
    await console.page.keyboard.press("Enter")
    await console.button("Approve").click()
    said = console.page.get_by_role("list", name="What was said").get_by_role("listitem")
    await expect(said).to_have_count(2)
