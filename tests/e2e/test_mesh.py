"""What the whole mesh promises, seen from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

from tests.conftest import until
from tests.e2e.conftest import ROOT, Mesh


async def test_a_run_goes_through_every_part_and_ends_with_an_answer(mesh: Mesh) -> None:
    run = await mesh.start_run("hello", topic="gRPC")
    events = [event async for event in mesh.watch(run["id"])]
    types = [event["type"] for event in events]
    assert types[:2] == ["run.queued", "run.started"]
    assert types[-1] == "run.succeeded"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    finished = await mesh.get(f"/v1/runs/{run['id']}")
    assert finished["status"] == "succeeded"
    assert finished["output"]
    assert [task["status"] for task in finished["tasks"]] == ["completed"]


async def test_a_stream_cut_five_times_gives_every_event_once_and_in_order(mesh: Mesh) -> None:
    run = await mesh.start_run("paced", words=400, pause_ms=3)
    seen: list[dict[str, object]] = []
    cuts = 0
    while not seen or not str(seen[-1]["type"]).startswith("run.succeeded"):
        after = int(str(seen[-1]["seq"])) if seen else None
        stop_at = len(seen) + 12
        async with contextlib.aclosing(mesh.watch(run["id"], after)) as events:
            async for event in events:
                seen.append(event)
                if len(seen) == stop_at and cuts < 5:
                    cuts += 1
                    break
    assert cuts == 5
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    said = "".join(
        event["payload"]["text"]  # type: ignore[index]
        for event in seen
        if event["type"] == "llm.chunk"
    )
    assert said.split() == [f"word{n}" for n in range(400)] * 3
    page = await mesh.get(f"/v1/runs/{run['id']}/events?limit=1000")
    assert page["items"] == seen


async def test_one_idempotency_key_sent_50_times_at_once_makes_one_run(mesh: Mesh) -> None:
    key = {"Idempotency-Key": "fifty-at-once"}
    runs = await asyncio.gather(
        *(mesh.start_run("hello", headers=key, topic="idempotency") for _ in range(50))
    )
    assert len({run["id"] for run in runs}) == 1
    listed = await mesh.get("/v1/runs?crew=hello&limit=200")
    same = [r for r in listed["items"] if r["inputs"] == {"topic": "idempotency"}]
    assert len(same) == 1


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rpartition(") ")[2][0] != "Z"


async def test_cancelling_a_stuck_crew_leaves_neither_it_nor_its_child_alive(
    mesh: Mesh, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pids"
    run = await mesh.start_run("stuck", pid_file=str(pid_file))

    async def is_stuck() -> bool:
        return pid_file.exists()

    await until(is_stuck)
    pids = [int(pid) for pid in pid_file.read_text(encoding="utf-8").split()]
    assert all(_alive(pid) for pid in pids)
    async with mesh.http.post(f"/v1/runs/{run['id']}/cancel") as response:
        assert response.status in (200, 202)
    types = [event["type"] async for event in mesh.watch(run["id"])]
    assert types[-1] == "run.cancelled"
    await asyncio.sleep(0.1)  # what the promise allows
    assert [pid for pid in pids if _alive(pid)] == []
    assert (await mesh.get(f"/v1/runs/{run['id']}"))["status"] == "cancelled"


async def test_a_run_that_takes_too_long_is_ended_with_its_processes(
    mesh: Mesh, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pids"
    body = {"crew": "stuck", "inputs": {"pid_file": str(pid_file)}, "timeout_seconds": 2}
    async with mesh.http.post("/v1/runs?wait=30", json=body) as response:
        run = await response.json()
    assert run["status"] == "timed_out"
    assert run["error"]["code"] == "timed_out"
    pids = [int(pid) for pid in pid_file.read_text(encoding="utf-8").split()]
    assert [pid for pid in pids if _alive(pid)] == []


async def test_runs_are_balanced_over_the_workers(mesh: Mesh) -> None:
    runs = await asyncio.gather(
        *(mesh.start_run("paced", words=50, pause_ms=10) for _ in range(12))
    )
    workers: Counter[str] = Counter()
    for run in runs:
        async for event in mesh.watch(run["id"]):
            if event["type"] == "run.started":
                workers[event["payload"]["worker_id"]] += 1
    assert len(workers) == 2
    assert min(workers.values()) >= 3


async def test_the_client_of_the_how_to_works_as_it_is_printed(mesh: Mesh) -> None:
    page = (ROOT / "docs/how-to/call-from-a-service.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code[1],
        env={**os.environ, "CREWMESH_GRPC": mesh.grpc, "CREWMESH_API_KEY": mesh.api_key},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await client.communicate()
    lines = output.decode().splitlines()
    assert client.returncode == 0
    assert lines[0].startswith("1 run.queued")
    assert " run.succeeded " in lines[-1]


async def test_waiting_answers_with_the_finished_run(mesh: Mesh) -> None:
    body = {"crew": "hello", "inputs": {"topic": "waiting"}}
    async with mesh.http.post("/v1/runs?wait=30", json=body) as response:
        assert response.status == 200
        assert (await response.json())["status"] == "succeeded"


async def test_a_client_that_leaves_does_not_end_the_run(mesh: Mesh) -> None:
    run = await mesh.start_run("paced", words=50, pause_ms=5)
    async with contextlib.aclosing(mesh.watch(run["id"])) as events:
        async for _ in events:
            break
    end = [event async for event in mesh.watch(run["id"])][-1]
    assert end["type"] == "run.succeeded"


async def test_no_valid_key_no_answer(mesh: Mesh) -> None:
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer cm_wrong"}):
        async with mesh.http.get("/v1/runs", headers=headers) as response:
            assert response.status == 401
            problem = json.loads(await response.text())
            assert problem["status"] == 401
            assert response.headers["Content-Type"].startswith("application/problem+json")


async def test_every_part_is_ready(mesh: Mesh) -> None:
    start = time.monotonic()
    ready = await mesh.get("/readyz")
    assert ready, f"after {time.monotonic() - start:.1f} s"
    assert await mesh.get("/healthz")
