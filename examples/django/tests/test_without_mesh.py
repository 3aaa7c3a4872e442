"""The pages, with no mesh behind them, or one that refuses."""

from __future__ import annotations

from typing import Any

import pytest
from briefs.models import Brief
from django.test import AsyncClient, Client
from pytest_httpserver import HTTPServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def mesh(httpserver: HTTPServer, settings: Any) -> HTTPServer:
    """A stand-in that answers as it is told."""
    settings.CREWMESH_URL, settings.CREWMESH_API_KEY = httpserver.url_for(""), "cm_test"
    return httpserver


async def test_without_a_mesh_the_visitor_is_told_and_nothing_is_kept(
    visitor: AsyncClient, form: Any, settings: Any
) -> None:
    settings.CREWMESH_URL = "http://127.0.0.1:9"
    page = await visitor.post("/briefs/", form, follow=True)
    assert "The brief wasn&#x27;t started: the crews can&#x27;t be reached" in page.content.decode()
    assert not await Brief.objects.aexists()


async def test_what_the_mesh_says_is_shown(
    visitor: AsyncClient, form: Any, mesh: HTTPServer
) -> None:
    mesh.expect_request("/v1/runs", method="POST").respond_with_json(
        {"title": "Too many", "detail": "the queue is full"}, status=429
    )
    page = await visitor.post("/briefs/", form, follow=True)
    assert "the queue is full" in page.content.decode()


async def test_a_run_that_failed_shows_why_and_what_is_shown_is_text(
    visitor: AsyncClient, mesh: HTTPServer
) -> None:
    mesh.expect_request("/v1/runs/r1").respond_with_json(
        {"status": "failed", "output": None, "error": {"message": "<script>no model</script>"}}
    )
    brief = await Brief.objects.acreate(topic="x", run_id="r1", status="running")
    page = (await visitor.get(f"/briefs/{brief.pk}/")).content.decode()
    assert "&lt;script&gt;no model" in page


async def test_the_key_is_sent_and_comes_from_the_form(
    visitor: AsyncClient, form: Any, mesh: HTTPServer
) -> None:
    mesh.expect_request(
        "/v1/runs",
        method="POST",
        headers={"Authorization": "Bearer cm_test", "Idempotency-Key": f"brief-{form['key']}"},
        json={"crew": "hello", "inputs": {"topic": "gRPC"}},
    ).respond_with_json({"id": "r1", "status": "queued"}, status=202)
    assert (await visitor.post("/briefs/", form)).status_code == 302
    assert (await Brief.objects.aget()).run_id == "r1"


@pytest.mark.parametrize("topic", ["", "   ", "x" * 201])
async def test_a_topic_that_is_none_starts_nothing(
    visitor: AsyncClient, mesh: HTTPServer, topic: str
) -> None:
    page = await visitor.post("/briefs/", {"topic": topic}, follow=True)
    assert "A topic has 1 to 200 characters." in page.content.decode()
    assert mesh.log == []


def test_a_form_of_another_site_is_refused() -> None:
    browser = Client(enforce_csrf_checks=True)
    assert browser.post("/briefs/", {"topic": "x"}).status_code == 403
