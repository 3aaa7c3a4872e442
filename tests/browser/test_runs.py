from __future__ import annotations

import json
import os
import re
import signal
from datetime import datetime, timedelta
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route, expect

from tests.browser.console import Console
from tests.conftest import until
from tests.e2e.conftest import ROOT, Mesh

SALES = "region,month,amount\n" + "".join(
    f"{region},2026-{month:02d},{month * factor}\n"
    for region, factor in (("north", 3), ("south", 5))
    for month in range(1, 13)
)
HOSTILE = """# A report

<script>window.harm = 1</script><img src="x" onerror="window.harm = 1">

![a picture](http://evil.example/pixel.png) [go](javascript:window.harm=1)

<style>main { display: none }</style> **bold**"""

OUTCOMES = {"options": ["approved", "rejected"]}


async def start(console: Console, crew: str) -> None:
    await console.open("/runs")
    await console.page.get_by_role("link", name="New run").click()
    await console.heading("New run")
    await console.choose("Crew", crew)


async def test_a_run_is_started_from_a_form_of_the_crews_inputs(console: Console) -> None:
    await start(console, "hello")
    await console.page.get_by_label("Topic").fill("gRPC")
    await console.button("Start the run").click()
    await console.status("Succeeded")
    await console.tab("Result")
    await expect(console.page.locator(".prose")).to_contain_text("gRPC")
    await console.tab("Timeline")
    await expect(console.page.get_by_role("button", name="Task: introduce")).to_be_visible()
    await expect(console.page.get_by_role("button", name="Model call: offline")).to_be_visible()
    agent = console.page.get_by_role("button", name=re.compile(r"^Agent: .*\d ?m?s$"))
    await expect(agent).to_be_visible()
    await console.button("Agents 1").click()
    await expect(agent).to_have_count(0)


async def test_a_file_is_uploaded_analysed_and_its_charts_and_report_are_shown(
    console: Console, tmp_path: Path
) -> None:
    file = tmp_path / "browser-sales.csv"
    file.write_text(SALES, encoding="utf-8")
    await start(console, "data-analyst")
    await console.button("Start the run").click()
    await expect(console.page.get_by_role("alert").first).to_contain_text("Is required")

    await console.page.locator("input[type=file]").set_input_files(file)
    await expect(console.page.get_by_label("Dataset")).not_to_have_value("")
    await console.page.get_by_label("Question").fill("Which region has the highest amount?")
    await console.button("Start the run").click()
    await console.status("Succeeded")
    await console.tab("Artifacts")

    report = console.page.get_by_role("region", name="report.md")
    await expect(report.get_by_role("heading", level=1)).to_contain_text("Which region")
    pictures = console.page.locator("main img")
    await expect(pictures.first).to_be_visible()

    async def all_are_drawn() -> bool:
        drawn = await pictures.evaluate_all("all => all.map((one) => one.naturalWidth > 0)")
        return len(drawn) >= 2 and all(drawn)

    await until(all_are_drawn, 30)


async def test_texts_are_shown_and_every_picture_of_a_name(console: Console, mesh: Mesh) -> None:
    run = await mesh.start_run("hello", topic="files")
    texts = {"sums.csv": "region,sum\nnorth,3\n", "sums.json": '{"north":3}', "log.txt": "done"}
    names = ["chart.png", *texts, "report.md", "chart.png"]
    items = [
        {"id": str(place), "name": name, "media_type": guess_type(name)[0], "size_bytes": 9}
        | {"url": f"/v1/artifacts/{place}", "created_at": run["created_at"]}
        for place, name in enumerate(names)
    ]

    async def list_them(route: Route) -> None:
        await route.fulfill(json={"items": items, "next_cursor": None})

    async def answer(route: Route) -> None:
        name = names[int(route.request.url.rsplit("/", 1)[1])]
        report = "![A chart](chart.png)"
        image = (ROOT / "docs" / "images" / "console-phone.png").read_bytes()
        body = texts.get(name, report) if not name.endswith("png") else image
        await route.fulfill(body=body, content_type=guess_type(name)[0])

    await console.page.route(f"**/v1/runs/{run['id']}/artifacts", list_them)
    await console.page.route("**/v1/artifacts/*", answer)
    await console.open(f"/runs/{run['id']}?tab=artifacts")
    await expect(console.page.get_by_role("figure")).to_have_count(2)
    table = console.page.get_by_role("region", name="sums.csv")
    await expect(table.get_by_role("cell")).to_have_text(["north", "3"])
    data = console.page.get_by_role("region", name="sums.json")
    await expect(data).to_contain_text('"north": 3')
    await expect(console.page.get_by_role("region", name="log.txt")).to_contain_text("done")
    picture = console.page.get_by_role("region", name="report.md").get_by_role("img")
    # The one that was there when the report was made.
    await expect(picture).to_have_attribute("src", "/v1/artifacts/0")


async def test_what_a_model_wrote_is_rendered_and_can_do_nothing(
    console: Console, mesh: Mesh
) -> None:
    run = await mesh.start_run("hello", topic=HOSTILE)
    await console.open(f"/runs/{run['id']}?tab=result")
    prose = console.page.locator(".prose")
    await expect(prose.locator("strong")).to_have_text("bold")
    await expect(prose).to_contain_text("[a picture]")
    await expect(prose).to_contain_text("<script>window.harm = 1</script>")
    assert await console.page.evaluate("window.harm") is None
    assert await prose.locator("script, style, img, [onerror], [href^=javascript]").count() == 0


async def test_a_running_run_is_cancelled(console: Console, mesh: Mesh) -> None:
    run = await mesh.start_run("paced", words=50_000, pause_ms=20)
    await console.open(f"/runs/{run['id']}")
    await console.status("Running")
    await console.button("Cancel").click()
    await console.button("Cancel the run").click()
    await console.status("Cancelled")
    await expect(console.page.locator("[data-connection]")).to_have_text("Complete")
    assert (await mesh.get(f"/v1/runs/{run['id']}"))["status"] == "cancelled"


async def test_a_run_that_waits_is_changed_then_approved(console: Console) -> None:
    await start(console, "approved")
    await console.button("Start the run").click()
    await console.status("Waits for you")
    await console.page.get_by_label("Your words").fill("make it shorter")
    await console.button("Ask for changes").click()
    question = console.page.get_by_role("region", name="The run waits for your answer")
    await expect(question).to_contain_text("make it shorter")
    await console.button("Approve").click()
    await console.status("Succeeded")
    await expect(question).to_have_count(0)


@pytest.mark.parametrize(
    ("asked", "words", "unfit", "chosen", "sent"),
    [
        ({"draft": "It is."} | OUTCOMES, "", "Send", "rejected", {"text": "rejected"}),
        ({"draft": "It is."} | OUTCOMES, "too long", "approved", "Send", {"text": "too long"}),
        ({}, "A title", None, "Send", {"text": "A title"}),
    ],
)
async def test_a_flows_question_takes_the_answers_that_its_kind_has(
    console: Console,
    mesh: Mesh,
    asked: dict[str, Any],
    words: str,
    unfit: str | None,
    chosen: str,
    sent: dict[str, Any],
) -> None:
    run = await mesh.start_run("approved")
    event = {"run_id": run["id"], "seq": 1, "at": run["created_at"], "attempt": 1}
    event |= {"type": "input.requested", "task": None, "agent": None}
    data = json.dumps({**event, "payload": {"prompt": "Which one?", **asked}})
    answers: list[Any] = []

    async def tell(route: Route) -> None:
        headers = {"Content-Type": "text/event-stream"}
        await route.fulfill(headers=headers, body=f"id: 1\nevent: x\ndata: {data}\n\n")

    async def take(route: Route) -> None:
        answers.append(route.request.post_data_json)
        await route.fulfill(json=run)

    # A flow's questions, without the environment that serving its project takes.
    await console.page.route(f"**/v1/runs/{run['id']}/events", tell)
    await console.page.route(f"**/v1/runs/{run['id']}/input", take)
    await console.open(f"/runs/{run['id']}")
    await console.page.get_by_label("Your words").fill(words)
    if unfit:
        await expect(console.button(unfit)).to_be_disabled()
    await expect(console.button("Approve")).to_have_count(0)
    await console.button(chosen).click()

    async def is_taken() -> bool:
        return bool(answers)

    await until(is_taken, 30)
    assert answers == [{**sent, "question": 1}]


async def test_a_run_whose_process_is_lost_shows_its_next_attempt(
    console: Console, mesh: Mesh, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    run = await mesh.start_run("paced", words=20_000, pause_ms=10, pid_file=str(pid_file))
    await console.open(f"/runs/{run['id']}")
    attempt = console.page.locator(".facts > div", has_text="Attempt")
    await expect(attempt).to_contain_text("1 of")

    async def is_written() -> bool:
        return pid_file.exists() and pid_file.read_text(encoding="utf-8") != ""

    await until(is_written, 30)
    os.kill(int(pid_file.read_text(encoding="utf-8")), signal.SIGKILL)
    await expect(attempt).to_contain_text("2 of")
    await console.status("Running")
    async with mesh.http.post(f"/v1/runs/{run['id']}/cancel") as response:
        assert response.status == 200
    await console.status("Cancelled")


async def test_a_run_is_retried_and_compared_with_what_it_repeats(
    console: Console, mesh: Mesh
) -> None:
    first = await mesh.start_run("hello", topic="retries")
    await console.open(f"/runs/{first['id']}")
    await console.status("Succeeded")
    await console.button("Retry").click()
    await expect(console.page.get_by_text("repeats")).to_be_visible()
    await console.status("Succeeded")
    assert (await mesh.get(f"/v1/runs/{console.run_id}"))["retry_of"] == first["id"]

    await console.page.get_by_role("link", name="Compare").click()
    await console.heading("Compare two runs")
    inputs = console.page.get_by_role("region", name="Inputs")
    await expect(inputs).to_contain_text("the same")
    await expect(console.page.get_by_role("row", name="introduce")).to_be_visible()


async def test_two_runs_are_picked_from_the_list_and_their_difference_is_shown(
    console: Console, mesh: Mesh
) -> None:
    for topic in ("comparison left", "comparison right"):
        await mesh.start_run("hello", topic=topic)
    await console.open("/runs?q=comparison")
    boxes = console.page.get_by_role("checkbox")
    await expect(boxes).to_have_count(2)
    for place in range(2):
        await boxes.nth(place).check()
    await console.page.get_by_role("button", name="Compare").click()
    inputs = console.page.get_by_role("region", name="Inputs")
    await expect(inputs.locator(".removed").last).to_contain_text("comparison right")
    await expect(inputs.locator(".added").last).to_contain_text("comparison left")


async def test_inputs_are_changed_and_run_again_on_the_same_terms(
    console: Console, mesh: Mesh
) -> None:
    terms = {
        "models": ["offline", "offline/second"],
        "budget": {"max_tokens": 50_000, "max_usd": None},
        "timeout_seconds": 77,
        "max_attempts": 2,
        "priority": 5,
    }
    body = {"crew": "hello", "inputs": {"topic": "rivers"}, **terms}
    async with mesh.http.post("/v1/runs?wait=30", json=body) as response:
        assert response.status == 200, await response.text()
        run = await response.json()
    await console.open(f"/runs/{run['id']}")
    await console.page.get_by_role("link", name="Edit and run").click()
    topic = console.page.get_by_label("Topic")
    await expect(topic).to_have_value("rivers")
    await topic.fill("lakes")
    await console.page.get_by_label("Priority").fill("7")
    await console.button("Start the run").click()
    await console.status("Succeeded")
    again = await mesh.get(f"/v1/runs/{console.run_id}")
    assert again["inputs"] == {"topic": "lakes"}
    assert {name: again[name] for name in terms} == {**terms, "priority": 7}


async def test_runs_are_found_by_words_status_crew_and_time(console: Console, mesh: Mesh) -> None:
    wanted = await mesh.start_run("hello", topic="glaciers and moraines")
    await mesh.start_run("hello", topic="deserts")
    await mesh.get(f"/v1/runs/{wanted['id']}?wait=20")
    await console.open("/runs")
    await console.page.get_by_role("searchbox").fill("morain")
    rows = console.page.locator("tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("glaciers")
    await console.choose("Status", "succeeded")
    await console.choose("Crew", "hello")
    await console.choose("Time", "1")
    await console.choose("Started by", wanted["created_by"])
    await expect(rows).to_have_count(1)
    assert "q=morain" in console.page.url
    await console.choose("Status", "failed")
    await expect(console.page.get_by_text("No run fits these filters")).to_be_visible()
    await console.page.get_by_role("link", name="Show all runs").click()
    await console.page.get_by_role("searchbox").fill(wanted["id"][24:32])
    await expect(rows).to_have_count(1)


async def test_runs_are_found_between_two_times(console: Console, mesh: Mesh) -> None:
    run = await mesh.start_run("hello", topic="tides")
    created = datetime.fromisoformat(run["created_at"])
    await console.open("/runs?q=tides")
    rows = console.page.locator("tbody tr")
    await expect(rows).to_have_count(1)
    await console.choose("Time", "between")
    await set_time(console, "From", created - timedelta(minutes=2))
    await set_time(console, "Until", created + timedelta(minutes=2))
    await expect(console.page).to_have_url(re.compile("since=.*until="))
    await expect(rows).to_have_count(1)
    await set_time(console, "Until", created - timedelta(minutes=1))
    await expect(console.page.get_by_text("No run fits these filters")).to_be_visible()
    await console.page.reload()
    await expect(console.page.get_by_text("No run fits these filters")).to_be_visible()
    await set_time(console, "Until", created + timedelta(minutes=2))
    await expect(rows).to_have_count(1)
    await set_time(console, "From", created + timedelta(minutes=1))
    await expect(console.page.get_by_text("No run fits these filters")).to_be_visible()


async def set_time(console: Console, label: str, moment: datetime) -> None:
    local = moment.astimezone().strftime("%Y-%m-%dT%H:%M")
    await console.page.get_by_label(label, exact=True).fill(local)


async def test_a_run_says_who_started_it_and_leads_to_its_sessions_runs(
    console: Console, mesh: Mesh
) -> None:
    async with mesh.http.post("/v1/sessions", json={"crew": "talker"}) as response:
        session = await response.json()
    said = {"content": "hello there"}
    async with mesh.http.post(f"/v1/sessions/{session['id']}/messages", json=said) as response:
        run = (await response.json())["run"]
    await console.open(f"/runs/{run['id']}?tab=details")
    terms = console.page.get_by_role("row")
    await expect(terms.filter(has_text="Started by")).to_contain_text("owner@localhost")
    await console.page.get_by_role("link", name=session["id"]).click()
    await console.page.get_by_role("link", name="Its runs").click()
    await console.heading("Runs")
    await expect(console.page.locator("tbody tr")).to_have_count(1)
    await console.page.get_by_role("button", name="Session").click()
    await expect(console.page.locator("tbody tr").nth(1)).to_be_visible()


async def test_a_refused_start_says_what_is_wrong_and_starts_nothing(
    console: Console, mesh: Mesh
) -> None:
    before = await mesh.get("/v1/runs?crew=hello")
    await start(console, "hello")
    await console.page.get_by_text("Model, budget and limits").click()
    webhook = {"url": "http://127.0.0.1:1/", "secret": "a secret"}
    await console.page.get_by_label("Webhook", exact=True).fill(webhook["url"])
    await console.page.get_by_label("The webhook's secret").fill(webhook["secret"])
    async with console.page.expect_request("**/v1/runs") as request:
        await console.button("Start the run").click()
    assert (await request.value).post_data_json["webhook"] == webhook
    await expect(console.page.get_by_role("alert")).to_be_visible()
    after = await mesh.get("/v1/runs?crew=hello")
    assert [run["id"] for run in after["items"]] == [run["id"] for run in before["items"]]


async def test_the_list_follows_runs_by_itself(console: Console, mesh: Mesh) -> None:
    run = await mesh.start_run("paced", words=4000, pause_ms=10)
    await console.open("/runs?crew=paced")
    row = console.page.locator("tbody tr").first
    await expect(row.locator(".status")).to_have_text("Running")
    async with mesh.http.post(f"/v1/runs/{run['id']}/cancel") as response:
        assert response.status == 200
    await expect(row.locator(".status")).to_have_text("Cancelled")
