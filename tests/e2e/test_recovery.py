"""Runs that lose their process or wait for a person, in the whole mesh."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from crewmesh.v1 import agent_pb2, agent_pb2_grpc
from tests.e2e.conftest import Mesh, running_mesh
from tests.e2e.test_cli import crewmesh


async def wait_for_event(mesh: Mesh, run_id: str, event_type: str, after: int = 0) -> Any:
    async for event in mesh.watch(run_id, after):
        if event["type"] == event_type:
            return event
    raise AssertionError(f"the run ended without {event_type}")


async def test_an_effect_happens_once_though_its_process_dies_after_it(
    mesh: Mesh, tmp_path: Path
) -> None:
    file = tmp_path / "payments"
    run = await mesh.start_run("effectful", file=str(file))
    events = [event async for event in mesh.watch(run["id"])]
    types = [event["type"] for event in events]
    assert types[-1] == "run.succeeded", events[-1]["payload"]
    requeued = next(e for e in events if e["type"] == "run.queued" and e["seq"] > 1)
    assert requeued["payload"]["reason"] == "runner_died"
    assert file.read_text(encoding="utf-8") == "paid 1\npaid 2\n"
    assert (await mesh.get(f"/v1/runs/{run['id']}"))["attempt"] == 2


async def test_a_run_waits_for_a_person_and_goes_on_with_the_answer(mesh: Mesh) -> None:
    run = await mesh.start_run("approved")
    asked = await wait_for_event(mesh, run["id"], "input.requested")
    assert asked["payload"]["draft"] == "draft 0: plain"
    assert asked["task"] == "draft"
    assert (await mesh.get(f"/v1/runs/{run['id']}"))["status"] == "waiting"

    answer = {"text": "make it shorter", "approve": False, "question": asked["seq"]}
    for _ in range(2):
        async with mesh.http.post(f"/v1/runs/{run['id']}/input", json=answer) as response:
            assert response.status == 200, await response.text()
    asked = await wait_for_event(mesh, run["id"], "input.requested", asked["seq"])
    assert asked["payload"]["draft"].startswith("draft 1: ")

    answer = {"text": "", "approve": True}
    async with mesh.http.post(f"/v1/runs/{run['id']}/input", json=answer) as response:
        assert response.status == 200, await response.text()
    events = [event async for event in mesh.watch(run["id"])]
    assert events[-1]["type"] == "run.succeeded"
    received = [event for event in events if event["type"] == "input.received"]
    assert [event["payload"]["approve"] for event in received] == [False, True]
    me = await mesh.get("/v1/me")
    assert {event["payload"]["by"] for event in received} == {me["user"]["id"]}
    finished = await mesh.get(f"/v1/runs/{run['id']}")
    assert finished["failures"] == 0


async def test_a_run_goes_on_with_an_answer_that_came_over_grpc(mesh: Mesh) -> None:
    run = await mesh.start_run("approved")
    asked = await wait_for_event(mesh, run["id"], "input.requested")
    request = agent_pb2.RespondToRunRequest(
        run_id=run["id"], text="", approve=True, question_seq=asked["seq"]
    )
    async with grpc.aio.insecure_channel(mesh.grpc) as channel:
        agents = agent_pb2_grpc.AgentServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await agents.RespondToRun(request)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        key = (("authorization", f"Bearer {mesh.api_key}"),)
        await agents.RespondToRun(request, metadata=key)
    events = [event async for event in mesh.watch(run["id"], asked["seq"])]
    received = next(event for event in events if event["type"] == "input.received")
    assert received["payload"]["approve"] is True
    assert events[-1]["type"] == "run.succeeded"


async def test_a_run_that_nobody_answers_in_time_is_timed_out(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, CREWMESH_INPUT_TIMEOUT_SECONDS="1") as mesh:
        run = await mesh.start_run("approved")
        events = [event async for event in mesh.watch(run["id"])]
        assert [event["type"] for event in events[-2:]] == ["input.requested", "run.timed_out"]
        why = {"code": "input_timed_out", "reason": "nobody answered in time"}
        assert events[-1]["payload"] == why
        ended = await mesh.get(f"/v1/runs/{run['id']}")
        assert ended["status"] == "timed_out"
        assert ended["error"] == {"code": "input_timed_out", "message": "nobody answered in time"}
        late = {"text": "", "approve": True, "question": events[-2]["seq"]}
        async with mesh.http.post(f"/v1/runs/{run['id']}/input", json=late) as response:
            assert response.status == 409
        watched = await crewmesh(mesh, "runs", "watch", run["id"])
        assert watched.status == 4
        assert "input_timed_out: nobody answered in time" in watched.err


async def test_a_run_that_kills_its_process_each_time_fails_and_others_go_on(mesh: Mesh) -> None:
    body = {"crew": "poison", "inputs": {}, "max_attempts": 3}
    async with mesh.http.post("/v1/runs", json=body) as response:
        poison = await response.json()
    healthy = [await mesh.start_run("paced", words=50, pause_ms=10) for _ in range(4)]
    events = [event async for event in mesh.watch(poison["id"])]
    queued = [event["payload"] for event in events if event["type"] == "run.queued"]
    assert [payload.get("reason") for payload in queued] == [None, "runner_died", "runner_died"]
    assert [event["attempt"] for event in events if event["type"] == "run.started"] == [1, 2, 3]
    assert events[-1]["type"] == "run.failed"
    assert events[-1]["payload"]["code"] == "attempts_exhausted"
    ended = await mesh.get(f"/v1/runs/{poison['id']}")
    assert (ended["status"], ended["attempt"], ended["failures"]) == ("failed", 3, 3)
    assert ended["attempt"] == ended["max_attempts"]
    assert ended["error"]["code"] == "attempts_exhausted"
    assert "killed by signal 9" in ended["error"]["message"]
    for run in healthy:
        events = [event async for event in mesh.watch(run["id"])]
        assert events[-1]["type"] == "run.succeeded"
        assert (await mesh.get(f"/v1/runs/{run['id']}"))["attempt"] == 1


async def test_answering_a_run_that_does_not_wait_is_refused(mesh: Mesh) -> None:
    run = await mesh.start_run("hello", topic="answers")
    async with mesh.http.post(f"/v1/runs/{run['id']}/input", json={"text": "yes"}) as response:
        assert response.status == 409
        assert (await response.json())["code"] == "run_not_waiting"


async def test_a_runner_that_is_killed_is_replaced_and_finished_tasks_are_not_run_again(
    mesh: Mesh, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    run = await mesh.start_run("paced", words=250, pause_ms=10, pid_file=str(pid_file))
    await wait_for_event(mesh, run["id"], "task.completed")
    os.kill(int(pid_file.read_text(encoding="utf-8")), signal.SIGKILL)
    events = [event async for event in mesh.watch(run["id"])]
    assert events[-1]["type"] == "run.succeeded"
    resumed = next(event for event in events if event["type"] == "run.resumed")
    done = resumed["payload"]["finished_tasks"]
    tasks = ["first", "second", "third"]
    started = [event["task"] for event in events if event["type"] == "task.started"]
    # The one in which it was killed, if it was in one, is begun again.
    assert done >= 1
    assert started in (tasks, [*tasks[: done + 1], *tasks[done:]])


@pytest.mark.long
async def test_a_killed_workers_runs_go_on_at_another(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, "--workers", "2") as mesh:
        run = await mesh.start_run("paced", words=400, pause_ms=10)
        started = await wait_for_event(mesh, run["id"], "run.started")
        await wait_for_event(mesh, run["id"], "task.completed")
        worker = _process_of(mesh, started["payload"]["worker_id"])
        worker.kill()
        events = [event async for event in mesh.watch(run["id"])]
        assert events[-1]["type"] == "run.succeeded"
        lost = next(event for event in events if event["payload"].get("reason") == "worker_lost")
        again = next(e for e in events if e["type"] == "run.started" and e["seq"] > lost["seq"])
        assert again["payload"]["worker_id"] != started["payload"]["worker_id"]
        assert sum(e["type"] == "task.started" and e["task"] == "first" for e in events) == 1


def _process_of(mesh: Mesh, worker_id: str) -> psutil.Process:
    """Find the worker's process by the log that tells its id."""
    for log in mesh.directory.glob("logs/worker-*.log"):
        if worker_id in log.read_text(encoding="utf-8"):
            return mesh.services()[log.stem]
    raise AssertionError(f"no process of worker {worker_id}")
