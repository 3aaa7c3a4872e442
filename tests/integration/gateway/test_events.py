from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from crewmesh_gateway import sse, watch
from crewmesh_gateway.schemas import Page, RunEvent
from tests.conftest import API_KEY, until
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway

STREAM = {"Accept": "text/event-stream"}


class Stream:
    """An open event stream, read event by event."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next_event(self) -> dict[str, Any] | None:
        """Return the next event's fields, or None at the end; comments are passed over."""
        fields: dict[str, Any] = {}
        async for line in self._lines:
            if line == "" and fields:
                return {**fields, "data": json.loads(fields["data"])}
            name, _, value = line.partition(": ")
            if name and not line.startswith(":"):
                fields[name] = value
        return None

    async def next_line(self) -> str:
        return await anext(self._lines)

    async def all_events(self) -> list[dict[str, Any]]:
        events = []
        while (event := await self.next_event()) is not None:
            events.append(event)
        return events


@asynccontextmanager
async def streaming(
    client: httpx2.AsyncClient, run_id: str, query: str = "", **headers: str
) -> AsyncIterator[Stream]:
    url = f"/v1/runs/{run_id}/events{query}"
    async with client.stream("GET", url, headers={**STREAM, **headers}) as response:
        yield Stream(response)


async def test_a_stream_holds_history_then_what_happens_then_ends(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    await fake.append("run.queued", {"crew": "data-analyst"})
    async with streaming(client, fake.run.id) as stream:
        first = await stream.next_event()
        await fake.append("llm.chunk", {"text": "one\ntwo"})
        second = await stream.next_event()
        await fake.end()
        last = await stream.next_event()

        assert await stream.next_event() is None
    assert stream.response.status_code == 200
    assert stream.response.headers["content-type"].startswith("text/event-stream")
    assert stream.response.headers["cache-control"] == "no-store"
    assert stream.response.headers["x-accel-buffering"] == "no"
    assert first is not None
    assert second is not None
    assert last is not None
    assert (first["id"], first["event"]) == ("1", "run.queued")
    assert second["data"]["payload"] == {"text": "one\ntwo"}
    assert last["event"] == "run.succeeded"
    RunEvent.model_validate(first["data"])


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("", {}, ["1", "2", "3", "4"]),
        ("?after=2", {}, ["3", "4"]),
        ("", {"Last-Event-ID": "3"}, ["4"]),
        ("?after=1", {"Last-Event-ID": "3"}, ["4"]),
    ],
)
async def test_a_stream_goes_on_after_the_last_number_seen(
    mesh: FakeMesh,
    client: httpx2.AsyncClient,
    query: str,
    headers: dict[str, str],
    expected: list[str],
) -> None:
    fake = mesh.agents.make_run()
    for _ in range(3):
        await fake.append("log")
    await fake.end()

    async with streaming(client, fake.run.id, query, **headers) as stream:
        assert [event["id"] for event in await stream.all_events()] == expected


async def test_a_log_that_is_read_to_its_end_tells_event_sources_not_to_come_again(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    await fake.end()

    response = await client.get(f"/v1/runs/{fake.run.id}/events?after=1", headers=STREAM)

    assert response.status_code == 204


async def test_a_stream_of_no_run_is_404(client: httpx2.AsyncClient) -> None:
    run_id = "0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a10"
    response = await client.get(f"/v1/runs/{run_id}/events", headers=STREAM)

    assert response.status_code == 404
    assert response.json()["code"] == "run_not_found"


async def test_a_run_without_news_is_answered_at_once(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    await fake.append("run.queued")

    async with streaming(client, fake.run.id, "?after=1") as stream:
        assert stream.response.status_code == 200
        await fake.append("log")
        event = await stream.next_event()

    assert event is not None
    assert event["id"] == "2"


@pytest.mark.parametrize("headers", [{"Last-Event-ID": "x"}, {"Last-Event-ID": "-1"}])
async def test_a_number_that_is_none_is_refused(
    mesh: FakeMesh, client: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    fake = mesh.agents.make_run()
    response = await client.get(f"/v1/runs/{fake.run.id}/events", headers={**STREAM, **headers})

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["header", "last-event-id"]


async def test_silence_is_filled_with_comments(
    mesh: FakeMesh, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "SILENCE_SECONDS", 0.02)
    fake = mesh.agents.make_run()
    await fake.append("run.queued")

    async with streaming(client, fake.run.id) as stream:
        await stream.next_event()
        assert [await stream.next_line() for _ in range(4)] == [":", "", ":", ""]


@pytest.mark.parametrize("lost", [0, 1])
async def test_another_worker_goes_on_when_one_is_lost(
    mesh: FakeMesh, client: httpx2.AsyncClient, lost: int
) -> None:
    fake = mesh.agents.make_run()
    await fake.append("run.queued")

    async with streaming(client, fake.run.id) as stream:
        await stream.next_event()
        await mesh.kill_worker(list(mesh.workers)[lost])
        await fake.append("log")
        await fake.end()
        assert [event["id"] for event in await stream.all_events()] == ["2", "3"]


async def test_a_stream_outlives_the_restart_of_all_workers_without_gap_or_repetition(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    await fake.append("run.queued")

    async with streaming(client, fake.run.id) as stream:
        await stream.next_event()
        ports = list(mesh.workers)
        for port in ports:
            await mesh.kill_worker(port)
        await fake.append("log")
        await mesh.start_worker(ports[0])
        await fake.append("log")
        await fake.end()
        assert [event["id"] for event in await stream.all_events()] == ["2", "3", "4"]

    assert mesh.agents.watches[-1].after_seq == 1


async def test_a_stream_whose_workers_never_come_back_ends_so_that_the_client_resumes(
    mesh: FakeMesh, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MAX_PAUSE_SECONDS", 0.01)
    fake = mesh.agents.make_run()
    await fake.append("run.queued")

    async with streaming(client, fake.run.id) as stream:
        for port in list(mesh.workers):
            await mesh.kill_worker(port)
        assert [event["id"] for event in await stream.all_events()] == ["1"]

    again = await client.get(f"/v1/runs/{fake.run.id}/events", headers=STREAM)
    assert again.status_code == 503


async def test_a_stream_is_begun_anew_in_time_and_not_for_a_revoked_key(
    mesh: FakeMesh, gateway: ServedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_STREAM_SECONDS", 0.1)
    fake = mesh.agents.make_run()
    await fake.append("run.queued")

    async with streaming(gateway.client, fake.run.id) as stream:
        await stream.next_event()
        await until(lambda: _count(mesh, 3))
        mesh.identities.secrets.pop(API_KEY)
        gateway.gateway.authenticator.forget(lambda principal: True)
        assert await stream.next_event() is None


async def _count(mesh: FakeMesh, watches: int) -> bool:
    return len(mesh.agents.watches) >= watches


async def test_a_client_that_leaves_ends_the_watch(
    mesh: FakeMesh, client: httpx2.AsyncClient, gateway: ServedGateway
) -> None:
    fake = mesh.agents.make_run()
    await fake.append("run.queued")
    async with streaming(client, fake.run.id) as stream:
        await stream.next_event()
        assert mesh.agents.open_watches == 1

    async def is_closed() -> bool:
        return mesh.agents.open_watches == 0

    await until(is_closed)
    assert gateway.gateway.metrics.open_streams._value.get() == 0


async def test_a_slow_client_slows_its_own_stream_only_and_loses_nothing(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    count = 4000
    for _ in range(count):
        await fake.append("llm.chunk", payload_json='{"text":"%s"}' % ("x" * 16_000))
    await fake.end()

    async with streaming(client, fake.run.id) as stream:
        await stream.next_event()
        await _is_quiet(mesh)
        assert mesh.agents.sent_seq < count
        events = await stream.all_events()

    assert [event["id"] for event in events] == [str(seq) for seq in range(2, count + 2)]


async def _is_quiet(mesh: FakeMesh) -> None:
    seen = -1
    while seen != mesh.agents.sent_seq:
        seen = mesh.agents.sent_seq
        await asyncio.sleep(0.3)


async def test_streams_end_when_the_gateway_stops(mesh: FakeMesh, gateway: ServedGateway) -> None:
    fake = mesh.agents.make_run()
    await fake.append("run.queued")

    async with streaming(gateway.client, fake.run.id) as stream:
        await stream.next_event()
        gateway.stop.set()
        assert await stream.next_event() is None
        await gateway.serving


async def test_any_other_accept_gets_pages(mesh: FakeMesh, client: httpx2.AsyncClient) -> None:
    fake = mesh.agents.make_run()
    for _ in range(3):
        await fake.append("log", {"message": "hello"})
    url = f"/v1/runs/{fake.run.id}/events"

    first = (await client.get(url, params={"limit": 2})).json()
    second = (await client.get(url, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    after = (await client.get(url, params={"after": 1})).json()

    Page[RunEvent].model_validate(first)
    assert [event["seq"] for event in first["items"]] == [1, 2]
    assert first["next_cursor"] == "2"
    assert [event["seq"] for event in second["items"]] == [3]
    assert second["next_cursor"] is None
    assert [event["seq"] for event in after["items"]] == [2, 3]
