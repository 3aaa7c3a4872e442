from __future__ import annotations

import asyncio
import socket
import time
from datetime import timedelta
from typing import Any

import pytest

from crewmesh.cli.client import MeshClient
from crewmesh.cli.connection import Connection
from crewmesh.cli.errors import ApiError, ExitStatus, UnreachableError
from tests.unit.cli.fake_mesh import KEY, RUN_ID, FakeMesh, a_whole_run, problem


def client(mesh: FakeMesh, key: str = KEY, patience: float = 5.0) -> MeshClient:
    connection = Connection(mesh.url, key, "the test")
    return MeshClient(connection, patience_seconds=patience, backoff_seconds=0.005)


async def watched(mesh: FakeMesh, patience: float = 5.0) -> list[Any]:
    async with client(mesh, patience=patience) as asking:
        return [each async for each in asking.watch(RUN_ID)]


async def test_every_event_is_yielded_once_to_the_terminal_one(mesh: FakeMesh) -> None:
    assert await watched(mesh) == a_whole_run()
    assert mesh.run.connections == [None]


@pytest.mark.parametrize("cuts", [[0], [3], [15], [0, 0, 0], [1, 2, 3, 4], [5, 0, 5, 0]])
async def test_a_stream_that_is_cut_is_taken_up_after_the_last_event(
    mesh: FakeMesh, cuts: list[int]
) -> None:
    mesh.run.cuts = list(cuts)
    assert await watched(mesh) == a_whole_run()
    assert len(mesh.run.connections) == len(cuts) + 1
    seen = [0]
    for cut in cuts:
        seen.append(seen[-1] + cut)
    assert mesh.run.connections == [str(number) if number else None for number in seen]


async def test_events_that_come_again_are_not_yielded_again(mesh: FakeMesh) -> None:
    twice = a_whole_run()
    mesh.run.events = twice[:4] + twice[2:]
    assert await watched(mesh) == a_whole_run()


async def test_a_mesh_that_is_restarting_is_waited_for(mesh: FakeMesh) -> None:
    path = f"/v1/runs/{RUN_ID}/events"
    mesh.problems[path] = [problem(503, "unavailable", "restarting") for _ in range(3)]
    assert await watched(mesh) == a_whole_run()


async def test_a_stream_that_stays_broken_is_given_up_in_bounded_time(mesh: FakeMesh) -> None:
    mesh.run.cuts = [2] + [0] * 10_000
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="could not be taken up") as caught:
        await watched(mesh, patience=0.3)
    assert time.monotonic() - began < 3
    assert f"crewmesh runs watch {RUN_ID}" in caught.value.next_step


async def test_a_stream_that_is_refused_is_not_tried_again(mesh: FakeMesh) -> None:
    path = f"/v1/runs/{RUN_ID}/events"
    mesh.problems[path] = [problem(401, "invalid_credentials", "unknown or revoked")]
    with pytest.raises(ApiError, match="unknown or revoked"):
        await watched(mesh)
    assert len(mesh.asked("GET", f"/v1/runs/{RUN_ID}/events")) == 1


async def test_a_problem_is_told_with_each_fault_and_its_request(mesh: FakeMesh) -> None:
    faults = [
        {"loc": ["body", "inputs", "x"], "msg": "is too long"},
        {"loc": ["crew"], "msg": "is unknown"},
    ]
    mesh.problems["/v1/runs"] = [problem(422, "invalid_input", "2 faults", errors=faults)]
    async with client(mesh) as asking:
        with pytest.raises(ApiError) as caught:
            await asking.start_run({"crew": "x", "inputs": {}})
    error = caught.value
    assert (error.what, error.http_status, error.code) == ("2 faults", 422, "invalid_input")
    assert error.details == ("body.inputs.x: is too long", "crew: is unknown")
    assert "request r1" in error.why
    assert error.exit_status is ExitStatus.USAGE


async def test_an_answer_that_is_no_problem_document_is_told_all_the_same(mesh: FakeMesh) -> None:
    from starlette.responses import HTMLResponse

    mesh.problems["/v1/me"] = [HTMLResponse("<h1>Bad</h1>", 500)]
    async with client(mesh) as asking:
        with pytest.raises(ApiError, match="the mesh answered 500"):
            await asking.get("/v1/me")


async def test_a_run_is_started_once_however_often_it_must_be_asked_for(mesh: FakeMesh) -> None:
    busy = problem(503, "unavailable", "restarting", headers={"Retry-After": "0"})
    mesh.problems["/v1/runs"] = [busy, busy]
    async with client(mesh) as asking:
        await asking.start_run({"crew": "x", "inputs": {}})
    keys = {headers["idempotency-key"] for headers in mesh.headers}
    assert (len(mesh.headers), len(keys)) == (3, 1)


async def test_a_long_wait_is_left_to_the_person(mesh: FakeMesh) -> None:
    later = problem(429, "exhausted", "too many runs", headers={"Retry-After": "60"})
    mesh.problems["/v1/runs"] = [later]
    async with client(mesh) as asking:
        with pytest.raises(ApiError, match="too many runs") as caught:
            await asking.start_run({"crew": "x", "inputs": {}})
    assert caught.value.retry_after == 60


async def test_nobody_listening_is_told_at_once(free_port: int) -> None:
    connection = Connection(f"http://127.0.0.1:{free_port}", KEY, "the test")
    async with asyncio.timeout(5), MeshClient(connection) as asking:
        with pytest.raises(UnreachableError, match="no mesh answers at") as caught:
            await asking.get("/v1/me")
    assert "crewmesh doctor" in caught.value.next_step


async def test_a_clock_that_is_off_is_noticed(mesh: FakeMesh) -> None:
    async with client(mesh) as asking:
        await asking.get("/v1/me")
        assert asking.clock_offset_seconds == 0
        mesh.clock_ahead = timedelta(hours=-1)
        await asking.get("/v1/me")
        assert -3603 < asking.clock_offset_seconds < -3597


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
