from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from crewmesh.common.errors import (
    ExhaustedError,
    InvalidInputError,
    UnavailableError,
    Violation,
)
from crewmesh.v1 import run_pb2
from crewmesh_gateway import waiting as gateway_waiting
from crewmesh_gateway.schemas import Crew, Page, Run
from tests.conftest import until
from tests.integration.gateway.fake_agents import FakeRun
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway
from tests.integration.gateway.fake_store import OWNER

START = {"crew": "data-analyst", "inputs": {"question": "why?"}}
UNKNOWN = "0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a10"


def end_soon(fake: FakeRun) -> None:
    fake.ending = asyncio.create_task(fake.end())  # type: ignore[attr-defined]  # kept alive by it


async def test_a_started_run_is_accepted_with_its_location(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    response = await client.post("/v1/runs", json=START)

    assert response.status_code == 202
    run = response.json()
    assert response.headers["location"] == f"/v1/runs/{run['id']}"
    assert run["status"] == "running"
    assert run["inputs"] == START["inputs"]
    Run.model_validate(run)


async def test_everything_that_a_client_says_of_a_run_reaches_the_worker(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    inputs = {"n": 123456789012345678901234567890, "x": 0.1, "text": "ü\u2028", "deep": [[{}]]}
    await client.post(
        "/v1/runs",
        json={
            "crew": "data-analyst",
            "inputs": inputs,
            "session_id": "conversation-1",
            "priority": -7,
            "timeout_seconds": 90,
            "max_attempts": 2,
        },
        headers={"Idempotency-Key": "order-17"},
    )

    spec = mesh.agents.started[0].spec
    assert spec.crew == "data-analyst"
    assert (
        spec.inputs_json
        == '{"n":123456789012345678901234567890,"x":0.1,"text":"ü\u2028","deep":[[{}]]}'
    )
    assert spec.session_id == "conversation-1"
    assert spec.priority == -7
    assert spec.timeout_seconds == 90
    assert spec.max_attempts == 2
    assert spec.idempotency_key == "order-17"


async def test_calls_name_the_person_and_the_request(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    await client.get("/v1/runs", headers={"X-Request-ID": "trace-me.1"})

    caller = mesh.agents.callers[-1]
    assert (caller.service, caller.org_id, caller.user_id, caller.role) == (
        "api_gateway",
        OWNER.org_id,
        OWNER.user_id,
        OWNER.role,
    )
    assert mesh.agents.request_ids[-1] == "trace-me.1"


async def test_waiting_answers_200_as_soon_as_the_run_has_ended(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    mesh.agents.on_start = end_soon

    response = await client.post("/v1/runs?wait=15", json=START)

    assert response.status_code == 200
    assert response.json()["status"] == "succeeded"
    assert response.json()["output"] == "42"


async def test_waiting_answers_202_when_the_run_takes_longer(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    response = await client.post("/v1/runs?wait=0.05", json=START)

    assert response.status_code == 202
    assert response.json()["status"] == "running"
    assert mesh.agents.waits == [pytest.approx(0.05)]


async def test_a_long_wait_is_made_of_short_calls(
    mesh: FakeMesh, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_waiting, "WAIT_SLICE_SECONDS", 0.02)

    waiting = asyncio.create_task(client.post("/v1/runs?wait=30", json=START))
    await until(lambda: _has(mesh.agents.waits, 4))
    await next(iter(mesh.agents.runs.values())).end()

    response = await waiting
    assert response.status_code == 200
    assert len(mesh.agents.started) == 1


async def _has(items: list[Any], count: int) -> bool:
    return len(items) >= count


async def test_an_accepted_run_is_told_even_when_the_wait_for_its_end_fails(
    mesh: FakeMesh, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_waiting, "WAIT_SLICE_SECONDS", 0.02)
    mesh.agents.on_start = lambda _: mesh.agents.failures.append(ExhaustedError("no"))

    response = await client.post("/v1/runs?wait=30", json=START)

    assert response.status_code == 202
    assert response.json()["id"] in mesh.agents.runs


async def test_showing_a_run_can_wait_for_its_end(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()

    waiting = asyncio.create_task(client.get(f"/v1/runs/{fake.run.id}?wait=30"))
    await until(lambda: _has(mesh.agents.waits, 1))
    await fake.end()

    assert (await waiting).json()["status"] == "succeeded"


async def test_a_client_that_leaves_ends_the_call_behind_it(
    mesh: FakeMesh, gateway: ServedGateway
) -> None:
    fake = mesh.agents.make_run()
    waiting = asyncio.create_task(gateway.client.get(f"/v1/runs/{fake.run.id}?wait=60"))
    await until(lambda: _has(mesh.agents.waits, 1))

    waiting.cancel()

    async def is_cancelled() -> bool:
        return mesh.agents.cancelled_calls == 1

    await until(is_cancelled)


async def test_the_same_key_returns_the_run_that_it_started_first(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await client.post("/v1/runs", json=START, headers=headers)
    second = await client.post("/v1/runs", json=START, headers=headers)

    assert first.json()["id"] == second.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"


async def test_the_same_key_with_another_body_conflicts(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    headers = {"Idempotency-Key": "k"}
    await client.post("/v1/runs", json=START, headers=headers)
    response = await client.post("/v1/runs", json={"crew": "data-analyst"}, headers=headers)

    assert response.status_code == 409
    assert response.json()["code"] == "idempotency_key_reused"


async def test_a_start_with_a_key_is_repeated_when_a_worker_is_lost(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    mesh.agents.failures = [UnavailableError("gone"), UnavailableError("gone")]

    response = await client.post("/v1/runs", json=START, headers={"Idempotency-Key": "k"})

    assert response.status_code == 202
    assert len(mesh.agents.runs) == 1


async def test_a_start_without_a_key_is_sent_once(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    mesh.agents.failures = [UnavailableError("gone", retry_after_seconds=2.5)]

    response = await client.post("/v1/runs", json=START)

    assert response.status_code == 503
    assert response.headers["retry-after"] == "3"
    assert len(mesh.agents.started) == 1


async def test_faults_that_the_worker_finds_are_listed(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    mesh.agents.failures = [
        InvalidInputError(
            "the inputs don't fit the crew",
            violations=[
                Violation("inputs.question", "required"),
                Violation("inputs.n", "not a number"),
            ],
        )
    ]

    response = await client.post("/v1/runs", json={"crew": "data-analyst"})

    assert response.status_code == 422
    assert response.json()["detail"] == "the inputs don't fit the crew"
    assert response.json()["errors"] == [
        {"loc": ["body", "inputs", "question"], "msg": "required"},
        {"loc": ["body", "inputs", "n"], "msg": "not a number"},
    ]


async def test_fields_that_do_not_exist_are_refused_and_not_ignored(
    shared_client: httpx2.AsyncClient,
) -> None:
    response = await shared_client.post("/v1/runs", json={**START, "budget": {"usd": 1}, "x": 1})

    assert response.status_code == 422
    faults = response.json()["errors"]
    assert [fault["loc"] for fault in faults] == [["body", "budget", "usd"], ["body", "x"]]
    assert all(fault["msg"].startswith("unknown field") for fault in faults)


async def test_runs_are_listed_in_pages_and_by_filter(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fakes = [mesh.agents.make_run() for _ in range(3)]
    fakes[0].run.status = run_pb2.RUN_STATUS_FAILED

    first = (await client.get("/v1/runs?limit=2")).json()
    second = (await client.get("/v1/runs", params={"cursor": first["next_cursor"]})).json()
    failed = (await client.get("/v1/runs?status=failed")).json()
    others = (await client.get("/v1/runs", params={"created_by": UNKNOWN})).json()
    mine = (await client.get("/v1/runs?created_by=me")).json()

    Page[Run].model_validate(first)
    ids = [run["id"] for run in first["items"] + second["items"]]
    assert ids == [fake.run.id for fake in reversed(fakes)]
    assert second["next_cursor"] is None
    assert [run["id"] for run in failed["items"]] == [fakes[0].run.id]
    assert (others["items"], len(mine["items"])) == ([], 3)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "status=done",
        "cursor=",
        "cursor=%20",
        "crew=%20",
        "session_id=%00",
        "created_by=you",
        "created_by=",
        "created_after=noon",
        "created_after=2026-01-01T00:00:00",
        "created_after=2026",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
    ],
)
async def test_wrong_filters_are_refused(shared_client: httpx2.AsyncClient, query: str) -> None:
    response = await shared_client.get(f"/v1/runs?{query}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"][0] == "query"


@pytest.mark.parametrize("path", ["", "/cancel", "/input", "/events"])
@pytest.mark.parametrize(
    "run_id", [UNKNOWN, "nothing", UNKNOWN[:-1], UNKNOWN + "0", "%00", "-" * 36]
)
async def test_a_run_that_is_not_there_is_404(
    shared_client: httpx2.AsyncClient, run_id: str, path: str
) -> None:
    method = "POST" if path in ("/cancel", "/input") else "GET"
    body = {"json": {"text": ""}} if path == "/input" else {}
    response = await shared_client.request(method, f"/v1/runs/{run_id}{path}", **body)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_cancelling_needs_no_body_and_passes_the_reason(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    bare = await client.post(f"/v1/runs/{fake.run.id}/cancel")
    told = await client.post(f"/v1/runs/{fake.run.id}/cancel", json={"reason": "too slow"})

    assert bare.status_code == told.status_code == 200
    assert told.json()["status"] == "cancelled"
    assert told.json()["error"] == {"code": "cancelled", "message": "too slow"}
    assert told.json()["cancel_requested_at"] is not None


async def test_a_waiting_run_gets_its_input_and_another_refuses_it(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    url = f"/v1/runs/{fake.run.id}/input"
    refused = await client.post(url, json={"text": "yes"})
    fake.run.status = run_pb2.RUN_STATUS_WAITING
    taken = await client.post(url, json={"text": "yes", "approve": False})
    named = await client.post(url, json={"text": "yes", "question": 7})

    assert (refused.status_code, refused.json()["code"]) == (409, "run_not_waiting")
    assert taken.status_code == named.status_code == 200
    assert fake.events[-2].payload_json == '{"text": "yes", "approve": false}'
    assert fake.questions_answered == [0, 7]


async def test_an_answer_to_a_question_is_sent_again_when_a_worker_falls(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    fake.run.status = run_pb2.RUN_STATUS_WAITING
    url = f"/v1/runs/{fake.run.id}/input"
    fake.falls = 1
    named = await client.post(url, json={"text": "yes", "question": 7})
    fake.falls = 1
    # It might answer a later question.
    unnamed = await client.post(url, json={"text": "yes"})

    assert (named.status_code, unnamed.status_code) == (200, 503)
    assert fake.questions_answered == [7]


async def test_crews_are_listed_and_shown(shared_client: httpx2.AsyncClient) -> None:
    listed = (await shared_client.get("/v1/crews")).json()
    shown = (await shared_client.get("/v1/crews/data-analyst")).json()
    missing = await shared_client.get("/v1/crews/nobody")

    Crew.model_validate(shown)
    assert listed == {"items": [shown], "next_cursor": None}
    assert shown["inputs"]["properties"] == {"question": {"type": "string"}}
    assert (missing.status_code, missing.json()["code"]) == (404, "crew_not_found")


async def test_a_run_that_has_ended_is_started_again(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    fake = mesh.agents.make_run()
    going_on = await client.post(f"/v1/runs/{fake.run.id}/retry")
    assert (going_on.status_code, going_on.json()["code"]) == (409, "run_not_ended")
    await fake.end()

    answers = [
        await client.post(f"/v1/runs/{fake.run.id}/retry", headers={"Idempotency-Key": "again"})
        for _ in range(2)
    ]

    first, second = (Run.model_validate(answer.json()) for answer in answers)
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].headers["location"] == f"/v1/runs/{first.id}"
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert first.id == second.id != fake.run.id
    assert first.retry_of == fake.run.id


async def test_runs_are_found_by_words(mesh: FakeMesh, client: httpx2.AsyncClient) -> None:
    for topic in ("gRPC", "Postgres"):
        await client.post("/v1/runs", json={"crew": "data-analyst", "inputs": {"topic": topic}})
    found = (await client.get("/v1/runs", params={"q": " Postgres "})).json()["items"]
    assert [run["inputs"] for run in found] == [{"topic": "Postgres"}]
    assert (await client.get("/v1/runs", params={"q": "x" * 201})).status_code == 422
