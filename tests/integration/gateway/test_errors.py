from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx2
import pytest

from crewmesh.common.errors import CrewmeshError
from crewmesh_gateway.schemas import Problem
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway, serving_gateway

JSON = {"Content-Type": "application/json"}
RUN = b'{"crew":"data-analyst","inputs":%b}'


def run_with(inputs: bytes) -> bytes:
    return RUN.replace(b"%b", inputs)


# What is sent to POST /v1/runs, and what comes of it.
MALFORMED: list[tuple[bytes, dict[str, str], int]] = [
    (b"", JSON, 422),
    (b"{", JSON, 400),
    (b"nonsense", JSON, 400),
    (b"\xff\xfe{\x00}\x00", JSON, 400),
    (b"\xef\xbb\xbf" + run_with(b"{}"), JSON, 400),
    (run_with(b'{"a":"\xff"}'), JSON, 400),
    (run_with(b'{"a":"\x00"}'), JSON, 400),
    (run_with(b"{}") + b"{}", JSON, 400),
    (run_with(b"{'a':1}"), JSON, 400),
    (run_with(b'{"a":1,}'), JSON, 400),
    (b"null", JSON, 422),
    (b"[]", JSON, 422),
    (b'"text"', JSON, 422),
    (b"{}", JSON, 422),
    (run_with(b"[]"), JSON, 422),
    (run_with(b"null"), JSON, 422),
    (run_with(b'{"a":NaN}'), JSON, 422),
    (run_with(b'{"a":-Infinity}'), JSON, 422),
    (run_with(b'{"a":1e999}'), JSON, 422),
    (run_with(b'{"a":' + b"1" * 5000 + b"}"), JSON, 422),
    (run_with(b'{"a":"\\u0000"}'), JSON, 422),
    (run_with(b'{"\\u0000":1}'), JSON, 422),
    (run_with(b'{"a":"\\ud800"}'), JSON, 422),
    (run_with(b'{"\\udc00":1}'), JSON, 422),
    (run_with(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}"), JSON, 422),
    (run_with(b'{"a":' * 5000 + b"1" + b"}" * 5000), JSON, 422),
    (b"[" * 500_000, JSON, 422),
    (b'{"crew":""}', JSON, 422),
    (b'{"crew":"../etc"}', JSON, 422),
    (b'{"crew":["data-analyst"]}', JSON, 422),
    (b'{"crew":"data-analyst","priority":101}', JSON, 422),
    (b'{"crew":"data-analyst","priority":"1"}', JSON, 422),
    (b'{"crew":"data-analyst","priority":1.5}', JSON, 422),
    (b'{"crew":"data-analyst","timeout_seconds":0}', JSON, 422),
    (b'{"crew":"data-analyst","max_attempts":true}', JSON, 422),
    (b'{"crew":"data-analyst","session_id":" "}', JSON, 422),
    (run_with(b"{}"), {**JSON, "Idempotency-Key": "x" * 256}, 422),
    (run_with(b"{}"), {**JSON, "Idempotency-Key": "a b"}, 422),
    (run_with(b"{}"), {**JSON, "Idempotency-Key": ""}, 422),
    (run_with(b"{}"), {"Content-Type": "text/plain"}, 415),
    (run_with(b"{}"), {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    (run_with(b"{}"), {}, 415),
    (run_with(b'{"a":"' + b"x" * 1_100_000 + b'"}'), JSON, 413),
]


def check_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    Problem.model_validate(problem)
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert re.fullmatch(r"[a-z_]+", problem["code"])
    return problem


@pytest.mark.parametrize("case", range(len(MALFORMED)))
async def test_malformed_input_is_refused_with_a_problem(
    shared_client: httpx2.AsyncClient, case: int
) -> None:
    content, headers, status = MALFORMED[case]
    response = await shared_client.post("/v1/runs", content=content, headers=headers)

    problem = check_problem(response, status)
    if status == 422:
        assert problem["errors"]


async def test_a_body_without_announced_length_is_limited_too(
    shared_client: httpx2.AsyncClient,
) -> None:
    async def body() -> Any:
        for _ in range(20):
            yield b" " * 65_536

    response = await shared_client.post("/v1/runs", content=body(), headers=JSON)

    check_problem(response, 413)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 66_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 11_000,
        b"GET /" + b"y" * 66_000,
    ],
)
async def test_what_is_not_http_or_has_no_end_is_refused_with_a_problem(
    shared_gateway: ServedGateway, sent: bytes
) -> None:
    host, _, port = shared_gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    answer = await reader.read()
    writer.close()

    head, _, body = answer.rpartition(b"\r\n\r\n")
    assert b"HTTP/1.1 400 " in head
    assert b"content-type: application/problem+json" in head
    problem = Problem.model_validate_json(body)
    assert f"x-request-id: {problem.request_id}".encode() in head.lower()


async def test_every_fault_is_listed_at_once(shared_client: httpx2.AsyncClient) -> None:
    response = await shared_client.post(
        "/v1/runs?wait=61",
        json={"priority": 101, "colour": "x"},
        headers={"Idempotency-Key": "a b"},
    )

    assert [fault["loc"] for fault in check_problem(response, 422)["errors"]] == [
        ["query", "wait"],
        ["header", "idempotency-key"],
        ["body", "crew"],
        ["body", "priority"],
        ["body", "colour"],
    ]


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1/nowhere", "/v1/runs/", "/v1", "/v1/runs//events", "/docs/x", "/%00"]
)
async def test_an_unknown_path_is_404(shared_client: httpx2.AsyncClient, path: str) -> None:
    check_problem(await shared_client.get(path), 404)


async def test_a_wrong_method_is_405_and_all_right_ones_are_told(
    shared_client: httpx2.AsyncClient,
) -> None:
    response = await shared_client.put("/v1/runs", json={})

    check_problem(response, 405)
    assert set(response.headers["allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("trace-1._A", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("a b", False),
        ("a/b", False),
        ("", False),
        ("<script>", False),
    ],
)
async def test_a_sane_request_id_is_kept_and_another_replaced(
    shared_client: httpx2.AsyncClient, given: str, kept: bool
) -> None:
    response = await shared_client.get("/healthz", headers={"X-Request-ID": given})

    answered = response.headers["x-request-id"]
    assert (answered == given) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", answered)


async def test_nothing_internal_shows_in_an_unexpected_error(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    mesh.agents.failures = [CrewmeshError("relation runs does not exist"), KeyError("secret")]
    for _ in range(2):
        problem = check_problem(await client.get("/v1/crews/data-analyst"), 500)
        assert problem["code"] == "internal"
        assert "relation" not in problem["detail"]
        assert "secret" not in problem["detail"]


async def test_workers_that_are_gone_are_503_without_their_addresses(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    for port in list(mesh.workers):
        await mesh.kill_worker(port)
    response = await client.post("/v1/runs", json={"crew": "data-analyst"})

    problem = check_problem(response, 503)
    assert problem["code"] == "unavailable"
    assert response.headers["retry-after"] == "1"
    assert "127.0.0.1" not in response.text


async def test_a_mesh_that_does_not_answer_in_time_is_504(
    mesh: FakeMesh, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmesh_gateway.waiting.CALL_SECONDS", -0.9)
    fake = mesh.agents.make_run()
    response = await client.get(f"/v1/runs/{fake.run.id}?wait=1")

    assert check_problem(response, 504)["code"] == "deadline_exceeded"


async def test_a_bug_in_a_route_is_a_500_with_a_request_id(
    mesh: FakeMesh, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("not for clients")

    monkeypatch.setattr("crewmesh_gateway.routes.crews.crew_json", broken)
    response = await client.get("/v1/crews/data-analyst")

    check_problem(response, 500)
    assert "not for clients" not in response.text


async def test_a_longer_body_can_be_allowed(mesh: FakeMesh) -> None:
    body = run_with(b'{"a":"' + b"x" * 1_100_000 + b'"}')
    async with serving_gateway(mesh, max_body_kb=2048) as served:
        response = await served.client.post("/v1/runs", content=body, headers=JSON)

    assert response.status_code == 202
