"""The pages, with a mesh behind them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from briefs.models import Brief
from django.test import AsyncClient

from .conftest import needs_mesh

pytestmark = [needs_mesh, pytest.mark.django_db(transaction=True)]


async def read_events(answer: Any) -> list[dict[str, Any]]:
    text = b"".join([chunk async for chunk in answer.streaming_content]).decode()
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def test_a_brief_is_started_followed_and_kept(visitor: AsyncClient, form: Any) -> None:
    sent = await visitor.post("/briefs/", form)
    assert sent.status_code == 302
    brief = await Brief.objects.aget()
    assert sent["Location"] == f"/briefs/{brief.pk}/"

    answer = await visitor.get(f"/briefs/{brief.pk}/progress")
    assert answer["Content-Type"] == "text/event-stream"
    events = await read_events(answer)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "run.succeeded"

    # From where the browser has been.
    again = await visitor.get(
        f"/briefs/{brief.pk}/progress", headers={"Last-Event-ID": str(events[2]["seq"])}
    )
    assert await read_events(again) == events[3:]

    page = (await visitor.get(f"/briefs/{brief.pk}/")).content.decode()
    assert "succeeded" in page
    await brief.arefresh_from_db()
    assert brief.text == events[-1]["payload"]["output"]
    assert "EventSource" not in page


async def test_a_form_that_is_sent_twice_starts_one_run(visitor: AsyncClient, form: Any) -> None:
    first = await visitor.post("/briefs/", form)
    second = await visitor.post("/briefs/", form)
    assert first["Location"] == second["Location"]
    assert await Brief.objects.acount() == 1


async def test_a_finished_run_s_cancel_does_no_harm(visitor: AsyncClient, form: Any) -> None:
    await visitor.post("/briefs/", form)
    brief = await Brief.objects.aget()
    await read_events(await visitor.get(f"/briefs/{brief.pk}/progress"))
    assert (await visitor.post(f"/briefs/{brief.pk}/cancel")).status_code == 302
    await visitor.get(f"/briefs/{brief.pk}/")
    await brief.arefresh_from_db()
    assert brief.status == "succeeded"
