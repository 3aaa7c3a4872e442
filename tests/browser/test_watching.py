from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.console import Console
from tests.browser.gateway import second_gateway
from tests.conftest import until
from tests.e2e.conftest import Mesh

pytestmark = pytest.mark.long

CALLS = 25_000
WORDS = 500
SMALLEST_ROW_PIXELS = 30
MODEL_CALL = re.compile("Model call: ")
# Looks at every frame: how many rows there were at most, and how often the log was drawn anew.
_WATCH_FRAMES = """
    window.frames = { rows: 0, updates: 0, events: "" };
    (function look() {
        const rows = document.querySelectorAll(".row").length;
        const shown = document.querySelector("[data-events]")?.dataset.events ?? "";
        if (rows > frames.rows) frames.rows = rows;
        if (shown !== frames.events) {
            frames.events = shown;
            frames.updates += 1;
        }
        requestAnimationFrame(look);
    })();
"""


async def events_shown(page: Page) -> int:
    return int(await page.locator("[data-events]").get_attribute("data-events") or 0)


async def test_text_streams_in_while_the_run_goes_on(console: Console, mesh: Mesh) -> None:
    run = await mesh.start_run("paced", words=20_000, pause_ms=10)
    await console.open(f"/runs/{run['id']}")
    await expect(console.page.locator("[data-connection]")).to_have_text("Live")
    model = console.page.get_by_role("button", name=MODEL_CALL)
    await expect(model).to_contain_text("word")
    before = await model.inner_text()
    await expect(model).not_to_have_text(before)
    async with mesh.http.post(f"/v1/runs/{run['id']}/cancel") as response:
        assert response.status == 200
    await console.status("Cancelled")


async def test_it_goes_on_where_it_was_when_the_gateway_is_killed_and_restarted(
    chromium: Browser, mesh: Mesh, tmp_path: Path
) -> None:
    asked: list[str] = []
    async with (
        second_gateway(mesh, tmp_path) as gateway,
        Console.opened(chromium, gateway.url) as console,
    ):
        await console.sign_in(mesh.api_key)
        run = await mesh.start_run("paced", words=WORDS, pause_ms=6)
        await console.open(f"/runs/{run['id']}?tab=timeline")
        sign = console.page.locator("[data-connection]")
        await expect(sign).to_have_text("Live")

        async def has_some() -> bool:
            return await events_shown(console.page) > 10

        await until(has_some, 30)
        await console.page.evaluate("window.notReloaded = true")

        await gateway.kill()
        await expect(sign).to_have_text("Reconnecting…")
        seen = await events_shown(console.page)
        console.page.on("request", lambda request: asked.append(cursor_of(request)))
        await gateway.start()
        await expect(sign).to_have_text(re.compile("Live|Complete"))
        await console.status("Succeeded")

        assert await console.page.evaluate("window.notReloaded")
        # Asked for what comes after what it had, not for all of it again.
        assert min(int(cursor) for cursor in asked if cursor) >= seen > 0
        whole = (await mesh.get(f"/v1/runs/{run['id']}"))["last_seq"]

        async def has_all() -> bool:
            return await events_shown(console.page) == whole

        await until(has_all, 30)
        await expect(console.page.get_by_role("button", name="Task: third")).to_be_visible()
        await said_everything(console.page, WORDS)


def cursor_of(request: Any) -> str:
    return str(request.headers.get("last-event-id", ""))


async def said_everything(page: Page, words: int) -> None:
    """Each of the three model calls holds each word once: nothing missed, nothing twice."""
    for place in range(3):
        row = page.get_by_role("button", name=MODEL_CALL).nth(place)
        await row.click()
        text = page.get_by_role("group", name="Text")
        await expect(text).to_contain_text(f"word{words - 1}")
        said = (await text.inner_text()).removeprefix("… ").split()
        tail = said[1:]
        first = int(tail[0].removeprefix("word"))
        assert tail == [f"word{number}" for number in range(first, words)]
        await row.click()


@pytest.mark.unmeasured
async def test_a_run_of_50000_events_is_drawn_by_its_rows_in_sight(
    console: Console, mesh: Mesh
) -> None:
    run = await mesh.start_run("chatty", calls=CALLS)
    await console.open(f"/runs/{run['id']}?tab=timeline")
    await expect(console.page.locator("[data-connection]")).to_have_text("Live")
    await console.page.evaluate(_WATCH_FRAMES)
    while (await mesh.get(f"/v1/runs/{run['id']}?wait=30"))["status"] == "running":
        pass
    await console.status("Succeeded")
    whole = (await mesh.get(f"/v1/runs/{run['id']}"))["last_seq"]
    assert whole > 50_000

    async def has_all() -> bool:
        return await events_shown(console.page) == whole

    await until(has_all, 60)
    rows = console.page.locator(".row")
    scroller = console.page.get_by_role("group", name="Events")
    height = await scroller.evaluate("(element) => element.scrollHeight")
    assert height > CALLS * SMALLEST_ROW_PIXELS
    await scroller.focus()
    await console.page.keyboard.press("End")
    await expect(console.page.get_by_role("button", name="Succeeded")).to_be_visible()
    await console.page.keyboard.press("Home")
    await expect(console.page.get_by_role("button", name="Queued")).to_be_visible()
    await scroller.evaluate("(element) => element.scrollTo(0, element.scrollHeight / 2)")
    await expect(rows.nth(10)).to_be_visible()
    frames = await console.page.evaluate("window.frames")
    # As many as fit, however long the log is; and the events of a while are drawn at once.
    assert 10 < frames["rows"] < 100
    assert frames["updates"] < whole / 10
    assert await console.page.evaluate("document.querySelectorAll('*').length") < 2000
    await console.page.get_by_role("button", name=re.compile("^Model calls")).click()
    await console.button("Agents 1").click()
    await expect(rows).to_have_count(4)


async def test_the_fleet_shows_a_run_under_way(console: Console, mesh: Mesh) -> None:
    run = await mesh.start_run("paced", words=20_000, pause_ms=10)
    await console.open("/fleet")
    cells = console.page.get_by_role("row").nth(1).get_by_role("cell")
    await expect(cells.nth(1)).to_have_text(re.compile(r"^[1-9]\d* of \d+"))
    await expect(cells.nth(3)).to_have_text(re.compile(r"[0-9.]+ s of 15 s"))
    async with mesh.http.post(f"/v1/runs/{run['id']}/cancel") as response:
        assert response.status == 200
