from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, StorageState, expect

from tests.browser.console import DESK, PHONE, Console
from tests.e2e.conftest import ROOT, Mesh

pytestmark = pytest.mark.long

AXE = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
# WCAG 2.2, levels A and AA, and what axe calls best practice.
EVERY_RULE = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
# Another scheme has other colours, and no other elements.
CONTRAST = ("color-contrast",)
# Colours pass over from one scheme to the other, in no time, but by a transition all the same: and
# what inherits a colour begins to once its parent has.
COLOURS_ARE_SETTLED = """async () => {
    let running;
    do {
        for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
        running = document.getAnimations().filter(({ playState }) => playState === "running");
        await Promise.allSettled(running.map((animation) => animation.finished));
    } while (running.length);
}"""
LOOKS: tuple[tuple[Any, Any, Sequence[str]], ...] = (
    ("light", DESK, EVERY_RULE),
    ("dark", DESK, CONTRAST),
    ("dark", PHONE, CONTRAST),
    ("light", PHONE, EVERY_RULE),
)


@pytest.fixture(scope="module")
async def pages(mesh: Mesh) -> list[tuple[str, str]]:
    """Every page, with what its main heading says: something else than that of the one before."""
    done = await mesh.start_run("hello", topic="accessibility")
    waiting = await mesh.start_run("approved")
    for run in (done, waiting):
        await mesh.get(f"/v1/runs/{run['id']}?wait=3")
    async with mesh.http.post("/v1/sessions", json={"crew": "talker"}) as response:
        session = (await response.json())["id"]
    said = {"content": "hello there"}
    async with mesh.http.post(f"/v1/sessions/{session}/messages?wait=30", json=said) as response:
        assert response.status == 200, await response.text()
    form = aiohttp.FormData()
    form.add_field("file", "a,b\n1,2\n", filename="axe.csv", content_type="text/csv")
    async with mesh.http.post("/v1/datasets", data=form) as response:
        assert response.status == 201, await response.text()
    definition = await mesh.get("/v1/crews/hello")
    await put_crew(mesh, definition["definition"])
    await put_crew(mesh, {**definition["definition"], "description": "Another one."})
    return [
        ("/runs", "Runs"),
        (f"/runs/{done['id']}?tab=timeline", "hello"),
        ("/crews/axe-hello", "axe-hello"),
        ("/runs?q=nothing-like-it&until=2026-01-01T00:00:00Z", "Runs"),
        (f"/runs/{done['id']}?tab=result", "hello"),
        ("/crews/axe-hello?tab=definition", "axe-hello"),
        ("/runs/new", "New run"),
        (f"/runs/{done['id']}?tab=artifacts", "hello"),
        ("/crews/axe-hello?tab=versions", "axe-hello"),
        ("/runs/new?crew=process-automation", "New run"),
        (f"/runs/{done['id']}?tab=details", "hello"),
        ("/crews/axe-hello?tab=diff", "axe-hello"),
        (f"/runs/{waiting['id']}", "approved"),
        (f"/compare?a={done['id']}&b={waiting['id']}", "Compare two runs"),
        ("/sessions", "Conversations"),
        (f"/sessions/{session}", "Conversation "),
        ("/datasets", "Datasets"),
        ("/crews", "Crews"),
        ("/fleet", "Fleet"),
        ("/usage?days=7", "Usage"),
        ("/keys", "API keys"),
        ("/members", "Members"),
    ]


async def put_crew(mesh: Mesh, definition: Any) -> None:
    body = {**definition, "name": "axe-hello"}
    async with mesh.http.put("/v1/crews/axe-hello", json=body) as response:
        assert response.status in (200, 201), await response.text()


async def violations(console: Console, rules: Sequence[str] = EVERY_RULE) -> list[str]:
    """What axe finds, with where."""
    if not await console.page.evaluate("'axe' in window"):
        await console.page.evaluate(AXE.read_text(encoding="utf-8"))
    options = json.dumps({"runOnly": list(rules), "resultTypes": ["violations"]})
    found = await console.page.evaluate(f"axe.run(document, {options})")
    return [
        f"{fault['id']} ({fault['help']}): {node['html'][:160]}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


async def test_every_page_is_accessible_and_fits(
    chromium: Browser, mesh: Mesh, owner: StorageState, pages: list[tuple[str, str]]
) -> None:
    faults: dict[str, list[str]] = {}
    async with Console.opened(chromium, mesh.url) as stranger:
        await stranger.open("/sign-in")
        await stranger.heading("Sign in to Crewmesh")
        faults["/sign-in"] = await violations_in_every_look(stranger)
    async with Console.opened(chromium, mesh.url, state=owner) as console:
        await console.open("/fleet")
        for path, heading in pages:
            await console.follow(path)
            await console.heading(heading)
            await expect(console.page.locator(".skeleton")).to_have_count(0)
            faults[path] = await violations_in_every_look(console)
    assert {path: found for path, found in faults.items() if found} == {}


async def violations_in_every_look(console: Console) -> list[str]:
    found = []
    for scheme, size, rules in LOOKS:
        await console.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await console.page.set_viewport_size(size)
        await expect(console.page.locator("html")).to_have_attribute("data-scheme", scheme)
        await console.page.evaluate(COLOURS_ARE_SETTLED)
        found += await violations(console, rules)
        if await wider_than_the_window(console):
            found.append(f"it is wider than a window of {size['width']}")
    return found


async def wider_than_the_window(console: Console) -> bool:
    wider: bool = await console.page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return wider


async def test_a_dialog_is_accessible_keeps_the_focus_and_gives_it_back(
    console: Console,
) -> None:
    await console.open("/keys")
    opener = console.button("New key")
    await opener.focus()
    await console.page.keyboard.press("Enter")
    dialog = console.page.get_by_role("dialog", name="New API key")
    await expect(dialog).to_be_visible()
    assert await violations(console) == []
    for _ in range(12):
        await console.page.keyboard.press("Tab")
        assert await console.page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    await console.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(opener).to_be_focused()


async def test_a_run_is_started_and_looked_into_by_keyboard_alone(console: Console) -> None:
    keys = console.page.keyboard
    await console.open("/runs/new?crew=hello")
    await console.page.get_by_label("Topic").focus()
    await keys.press("Control+A")
    await keys.type("keyboards")
    await tab_to(console, "Start the run")
    await keys.press("Enter")
    await console.status("Succeeded")
    # The result is shown first where the run had ended before the page was there.
    await tab_to(console, "Timeline", "Result")
    await keys.press("Home")
    await expect(console.page.get_by_role("tab", name="Timeline")).to_be_focused()
    await keys.press("ArrowRight")
    await expect(console.page.get_by_role("tab", name="Result")).to_be_focused()
    await expect(console.page.locator(".prose")).to_contain_text("keyboards")
    await keys.press("ArrowLeft")
    await tab_to(console, "Model call: offline")
    await keys.press("Enter")
    await expect(console.page.get_by_role("group", name="Usage")).to_be_visible()


async def tab_to(console: Console, *beginnings: str) -> None:
    """Press Tab until what has the focus begins with one of these texts."""
    passed = []
    while not (text := await focused(console)).startswith(beginnings):
        passed.append(text)
        assert len(passed) < 200, f"Tab doesn't reach {beginnings}, only {set(passed)}"
        await console.page.keyboard.press("Tab")


async def focused(console: Console) -> str:
    text: str = await console.page.evaluate("document.activeElement.innerText ?? ''")
    return " ".join(text.split())


async def test_keys_are_made_shown_once_and_revoked(console: Console, mesh: Mesh) -> None:
    await console.open("/keys")
    await console.button("New key").click()
    await console.page.get_by_label("Name", exact=True).fill("from the console")
    await console.button("Make the key").click()
    secret = await console.page.locator("[data-secret]").inner_text()
    headers = {"Authorization": f"Bearer {secret}"}
    async with mesh.http.get("/v1/me", headers=headers) as response:
        assert response.status == 200
    await console.button("I have kept it").click()
    await expect(console.button("New key")).to_be_focused()
    await console.button("Revoke from the console").click()
    await console.button("Revoke the key").click()
    row = console.page.get_by_role("row", name="from the console you")
    await expect(row).to_contain_text("revoked")
    async with mesh.http.get("/v1/me", headers=headers) as response:
        assert response.status == 401


async def test_members_are_added_given_a_role_and_deleted(console: Console, mesh: Mesh) -> None:
    await console.open("/members")
    await console.button("Add a member").click()
    await console.page.get_by_label("E-mail address").fill("ana@example.org")
    await console.page.get_by_label("Name", exact=True).fill("Ana")
    await console.page.get_by_label("First password").fill("a long enough password")
    await console.button("Add").click()
    await console.page.get_by_label("Role of ana@example.org").select_option("operator")

    async def role() -> Any:
        users = (await mesh.get("/v1/users"))["items"]
        return next((user["role"] for user in users if user["email"] == "ana@example.org"), None)

    await expect(console.page.get_by_label("Role of ana@example.org")).to_have_value("operator")
    assert await role() == "operator"
    await console.button("Edit ana@example.org").click()
    await console.page.get_by_label("Name", exact=True).fill("Ana Blum")
    await console.page.get_by_label("New password").fill("another long password")
    await console.button("Save").click()
    await expect(console.page.get_by_role("row", name="Ana Blum")).to_be_visible()
    signing_in = {"username": "ana@example.org", "password": "another long password"}
    form = {"grant_type": "password", **signing_in}
    async with mesh.http.post("/v1/auth/token", data=form) as response:
        assert response.status == 200, await response.text()
    await console.button("Delete ana@example.org").click()
    await console.button("Delete the member").click()
    await expect(console.page.get_by_text("ana@example.org")).to_have_count(0)
    assert await role() is None


async def test_a_crew_is_brought_changed_compared_and_rolled_back(
    console: Console, mesh: Mesh
) -> None:
    definition = {**(await mesh.get("/v1/crews/hello"))["definition"], "name": "brought"}
    await console.open("/crews")
    await console.button("Bring a crew").click()
    await console.page.get_by_label("Name", exact=True).fill("brought")
    await console.page.get_by_label("Definition, as YAML or JSON").fill('{"agents": 3}')
    await console.button("Bring it").click()
    await expect(console.page.get_by_role("alert")).to_be_visible()
    await console.page.get_by_label("Definition, as YAML or JSON").fill(json.dumps(definition))
    await console.button("Bring it").click()
    await console.heading("brought")

    changed = json.dumps({**definition, "description": "A second version."})
    await console.button("New version").click()
    text = console.page.get_by_label("Definition, as YAML or JSON")
    assert json.loads(await text.input_value())["crew"] == definition["crew"]
    await console.page.get_by_label("Definition, as YAML or JSON").fill(changed)
    await console.button("Bring it").click()
    await expect(console.page.get_by_text("A second version.")).to_be_visible()
    await console.tab("Changes")
    await expect(console.page.locator(".added")).to_contain_text("A second version.")
    await console.tab("Versions")
    await console.button("Make current").click()
    await expect(console.page.get_by_role("row", name="1 current")).to_be_visible()
    assert (await mesh.get("/v1/crews/brought"))["version"] == "1"
    await console.tab("Changes")
    await expect(console.page.locator(".removed")).to_contain_text("A second version.")

    await console.button("Delete the crew").click()
    dialog = console.page.get_by_role("dialog", name="Delete brought?")
    await dialog.get_by_role("button", name="Delete the crew").click()
    await console.heading("Crews")
    await expect(console.page.get_by_role("link", name="brought")).to_have_count(0)
    assert await mesh.get_all("/v1/crews/brought") == [404]


async def test_a_dataset_is_brought_shown_and_deleted(
    console: Console, mesh: Mesh, tmp_path: Path
) -> None:
    file = tmp_path / "rivers.csv"
    file.write_text('name,note\nRhine,"long, wide"\n', encoding="utf-8")
    await console.open("/datasets")
    await console.page.locator("input[type=file]").set_input_files(file)
    await console.button("Show rivers.csv").click()
    dialog = console.page.get_by_role("dialog", name="rivers.csv")
    await expect(dialog.get_by_role("cell")).to_have_text(["Rhine", "long, wide"])
    await console.page.keyboard.press("Escape")
    await console.button("Delete rivers.csv").click()
    await console.button("Delete the dataset").click()
    await expect(console.page.get_by_text("rivers.csv")).to_have_count(0)
    assert await mesh.get_all("/v1/datasets/rivers.csv") == [404]


async def test_the_scheme_is_chosen_and_kept(console: Console) -> None:
    await console.open("/runs")
    root = console.page.locator("html")
    await expect(root).to_have_attribute("data-scheme", "light")
    await console.button("Use the dark scheme").click()
    await expect(root).to_have_attribute("data-scheme", "dark")
    await console.page.reload()
    await expect(root).to_have_attribute("data-scheme", "dark")


async def test_what_is_not_there_says_so(console: Console) -> None:
    await console.open("/runs/0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a10")
    await expect(console.page.get_by_role("alert").first).to_contain_text("no run")
