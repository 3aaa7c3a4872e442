"""Both clients against a server that follows a script."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from crewmesh.cli.errors import ExitStatus, exit_status_of
from crewmesh.client import (
    ApiError,
    AsyncClient,
    AuthenticationError,
    Client,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    StreamLostError,
    TooManyRequestsError,
    UnavailableError,
    UnknownAnswerError,
    UnreachableError,
)
from tests.unit.cli.fake_mesh import KEY, RUN_ID, FakeMesh, a_whole_run, problem


class Asking:
    """One of the two clients, with asyncio's face."""

    def __init__(self, kind: type[Client | AsyncClient]) -> None:
        self.kind = kind

    async def do(self, url: str, act: Callable[[Any], Any], patience: float = 5.0) -> Any:
        """Return what `act` makes of a client's answer, or raise what it raises."""
        options = {"patience_seconds": patience, "backoff_seconds": 0.005}
        if self.kind is AsyncClient:
            async with AsyncClient(url, KEY, **options) as client:
                answer = act(client)
                return await answer if isinstance(answer, Awaitable) else answer

        def in_thread() -> Any:
            with Client(url, KEY, **options) as client:
                return act(client)

        return await asyncio.to_thread(in_thread)

    async def watch(self, mesh: FakeMesh, patience: float = 5.0, after: int = 0) -> list[Any]:
        """Return the run's events as their JSON."""

        def act(client: Any) -> Any:
            events = client.runs.events(RUN_ID, after=after)
            return collected(events) if self.kind is AsyncClient else [e.raw for e in events]

        return await self.do(mesh.url, act, patience)


async def collected(events: Any) -> list[Any]:
    return [event.raw async for event in events]


@pytest.fixture(params=[AsyncClient, Client])
def asking(request: pytest.FixtureRequest) -> Asking:
    return Asking(request.param)


async def test_every_event_is_yielded_once_to_the_terminal_one(
    asking: Asking, mesh: FakeMesh
) -> None:
    assert await asking.watch(mesh) == a_whole_run()
    assert mesh.run.connections == [None]


@pytest.mark.parametrize("cuts", [[0], [3], [15], [0, 0, 0], [1, 2, 3, 4], [5, 0, 5, 0]])
async def test_a_stream_that_is_cut_is_taken_up_after_the_last_event(
    asking: Asking, mesh: FakeMesh, cuts: list[int]
) -> None:
    mesh.run.cuts = list(cuts)
    assert await asking.watch(mesh) == a_whole_run()
    assert len(mesh.run.connections) == len(cuts) + 1
    seen = [0]
    for cut in cuts:
        seen.append(seen[-1] + cut)
    assert mesh.run.connections == [str(number) if number else None for number in seen]


async def test_events_that_come_again_are_not_yielded_again(asking: Asking, mesh: FakeMesh) -> None:
    twice = a_whole_run()
    mesh.run.events = twice[:4] + twice[2:]
    assert await asking.watch(mesh) == a_whole_run()


async def test_a_mesh_that_is_restarting_is_waited_for(asking: Asking, mesh: FakeMesh) -> None:
    path = f"/v1/runs/{RUN_ID}/events"
    mesh.problems[path] = [problem(503, "unavailable", "restarting") for _ in range(3)]
    assert await asking.watch(mesh) == a_whole_run()


async def test_a_stream_that_stays_broken_is_given_up(asking: Asking, mesh: FakeMesh) -> None:
    mesh.run.cuts = [2] + [0] * 10_000
    with pytest.raises(StreamLostError, match="could not be taken up") as caught:
        await asking.watch(mesh, patience=0.3)
    assert f"crewmesh runs watch {RUN_ID}" in caught.value.next_step
    assert caught.value.last_seq == 2


async def test_a_stream_that_is_refused_is_not_tried_again(asking: Asking, mesh: FakeMesh) -> None:
    path = f"/v1/runs/{RUN_ID}/events"
    mesh.problems[path] = [problem(401, "invalid_credentials", "unknown or revoked")]
    with pytest.raises(AuthenticationError, match="unknown or revoked"):
        await asking.watch(mesh)
    assert len(mesh.asked("GET", f"/v1/runs/{RUN_ID}/events")) == 1


async def test_a_problem_is_told_with_each_fault_and_its_request(
    asking: Asking, mesh: FakeMesh
) -> None:
    faults = [
        {"loc": ["body", "inputs", "x"], "msg": "is too long"},
        {"loc": ["crew"], "msg": "is unknown"},
    ]
    mesh.problems["/v1/runs"] = [problem(422, "invalid_input", "2 faults", errors=faults)]
    with pytest.raises(InvalidInputError) as caught:
        await asking.do(mesh.url, start)
    error = caught.value
    assert (error.what, error.http_status, error.code) == ("2 faults", 422, "invalid_input")
    assert error.details == ("body.inputs.x: is too long", "crew: is unknown")
    assert "request r1" in error.why
    assert (error.request_id, bool(error.next_step)) == ("r1", True)
    assert exit_status_of(error) is ExitStatus.USAGE


async def test_an_answer_that_is_no_problem_document_is_told_all_the_same(
    asking: Asking, mesh: FakeMesh
) -> None:
    from starlette.responses import HTMLResponse

    mesh.problems["/v1/me"] = [HTMLResponse("<h1>Bad</h1>", 500)]
    with pytest.raises(ServerError, match="the mesh answered 500"):
        await asking.do(mesh.url, me)


async def test_a_run_is_started_once_however_often_it_must_be_asked_for(
    asking: Asking, mesh: FakeMesh
) -> None:
    busy = problem(503, "unavailable", "restarting", headers={"Retry-After": "0"})
    mesh.problems["/v1/runs"] = [busy, busy]
    await asking.do(mesh.url, start)
    keys = {headers["idempotency-key"] for headers in mesh.headers}
    assert (len(mesh.headers), len(keys)) == (3, 1)


async def test_a_long_wait_is_left_to_the_person(asking: Asking, mesh: FakeMesh) -> None:
    later = problem(429, "exhausted", "too many runs", headers={"Retry-After": "60"})
    mesh.problems["/v1/runs"] = [later]
    with pytest.raises(TooManyRequestsError, match="too many runs") as caught:
        await asking.do(mesh.url, start)
    assert caught.value.retry_after == 60


async def test_nobody_listening_is_told_at_once(asking: Asking, free_port: int) -> None:
    with pytest.raises(UnreachableError, match="no mesh answers at") as caught:
        async with asyncio.timeout(5):
            await asking.do(f"http://127.0.0.1:{free_port}", me)
    assert "crewmesh doctor" in caught.value.next_step


async def test_a_clock_that_is_off_is_noticed(mesh: FakeMesh) -> None:
    with Client(mesh.url, KEY) as client:
        client.account.me()
        assert client.clock_offset_seconds == 0
        mesh.clock_ahead = timedelta(hours=-1)
        client.account.me()
        assert -3603 < client.clock_offset_seconds < -3597


async def test_an_event_that_is_missing_is_asked_for_again(asking: Asking, mesh: FakeMesh) -> None:
    whole = a_whole_run()
    mesh.run.events = whole[:3] + whole[4:]
    mesh.run.on_connection = lambda number: setattr(mesh.run, "events", whole) if number else None
    assert await asking.watch(mesh) == whole
    assert mesh.run.connections == [None, "3"]


async def test_a_log_that_has_ended_before_is_no_trouble(asking: Asking, mesh: FakeMesh) -> None:
    from starlette.responses import Response

    mesh.problems[f"/v1/runs/{RUN_ID}/events"] = [Response(status_code=204)]
    assert await asking.watch(mesh, after=16) == []


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (400, InvalidInputError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (418, ApiError),
        (500, ServerError),
        (503, UnavailableError),
    ],
)
async def test_each_problem_has_its_exception(
    mesh: FakeMesh, status: int, error_type: type[ApiError]
) -> None:
    later = {"Retry-After": "60"}
    mesh.problems["/v1/me"] = [problem(status, "the_code", "why", headers=later)]
    with pytest.raises(ApiError) as caught:
        await Asking(Client).do(mesh.url, me)
    assert type(caught.value) is error_type
    assert (caught.value.http_status, caught.value.code) == (status, "the_code")


async def test_what_has_no_key_is_not_sent_again(asking: Asking, mesh: FakeMesh) -> None:
    mesh.problems["/v1/api-keys"] = [problem(503, "unavailable", "restarting")]
    with pytest.raises(UnavailableError):
        await asking.do(mesh.url, lambda client: client.api_keys.create("ci"))
    assert len(mesh.asked("POST", "/v1/api-keys")) == 1


async def test_what_is_no_mesh_is_told(asking: Asking, mesh: FakeMesh) -> None:
    from starlette.responses import JSONResponse

    mesh.problems["/v1/me"] = [JSONResponse({"hello": "world"})]
    with pytest.raises(UnknownAnswerError, match="is no Me") as caught:
        await asking.do(mesh.url, me)
    assert caught.value.next_step


async def test_answers_are_typed_and_keep_their_json(asking: Asking, mesh: FakeMesh) -> None:
    run = await asking.do(mesh.url, lambda client: client.runs.get(RUN_ID))
    assert (run.status, run.ended, run.tasks[0].name) == ("succeeded", True, "profile")
    assert run.finished_at > run.created_at
    assert run.raw["tasks"][0] == run.tasks[0].raw


async def test_pages_are_read_to_the_end(asking: Asking, mesh: FakeMesh) -> None:
    mesh.audit = [{"seq": n, "hash": "", "entry": ""} for n in range(1, 6)]

    def act(client: Any) -> Any:
        entries = client.audit.iterate(order="asc")
        return collected(entries) if asking.kind is AsyncClient else [e.raw for e in entries]

    assert await asking.do(mesh.url, act) == mesh.audit


def me(client: Any) -> Any:
    return client.account.me()


def start(client: Any) -> Any:
    return client.runs.start("x")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
