"""How runners end: killed, dead by themselves, or with their worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from crewmesh.v1.runner_pb2 import FromRunner
from crewmesh_worker import clock
from crewmesh_worker.runner.pool import Runner, RunnerDiedError, RunnerPool, RunnerSettings

from .conftest import HERE, until

Find = Callable[[str], list[psutil.Process]]


@pytest.fixture
def spin(tmp_path: Path, execute: Any):
    """A request whose tool starts stubborn processes and never returns; a file says when."""
    started = tmp_path / "started"
    task = {"name": "t", "answer": "a", "tool": ["spin", {"pid_file": str(started)}]}
    return execute(task), started


async def follow(runner: Runner, request: Any) -> list[FromRunner]:
    return [message async for message in runner.execute(request)]


async def test_a_killed_run_leaves_no_process_and_no_file(
    pool: RunnerPool, spin: Any, processes_of: Find
) -> None:
    request, started = spin
    runner = await pool.acquire("kill")
    following = asyncio.create_task(follow(runner, request))
    await until(started.exists)
    # Two that ignore SIGTERM, one of them a session's leader, and a daemon with a session
    # of its own whose parent is gone.
    assert len(processes_of(str(started))) >= 3

    began = time.monotonic()
    await runner.kill()
    assert time.monotonic() - began < 2
    assert processes_of(str(started)) == []
    assert not psutil.pid_exists(runner.pid)
    assert not runner.work_dir.exists()
    with pytest.raises(RunnerDiedError, match=f"process {runner.pid} died: it was killed"):
        await following
    await runner.kill()
    await runner.release()


async def test_a_killed_run_takes_its_pool_of_processes_along(
    pool: RunnerPool, execute: Any, tmp_path: Path, processes_of: Find
) -> None:
    runner = await pool.acquire("pool")
    started = str(tmp_path / "pool")
    request = execute({"name": "t", "answer": "a", "tool": ["count_in_pool", {"started": started}]})
    following = asyncio.create_task(follow(runner, request))
    await until(lambda: len(list(tmp_path.iterdir())) == 2)
    assert len(processes_of(started)) >= 2
    await runner.kill()
    assert processes_of(started) == []
    assert not psutil.pid_exists(runner.pid)
    with pytest.raises(RunnerDiedError):
        await following
    await runner.release()


async def test_processes_that_heed_sigterm_are_given_the_time_for_it(
    pool: RunnerPool, execute: Any, tmp_path: Path
) -> None:
    runner = await pool.acquire("polite")
    last_words = tmp_path / "last-words"
    arguments = {"pid_file": str(tmp_path / "started"), "last_words": str(last_words)}
    request = execute({"name": "t", "answer": "a", "tool": ["spin", arguments]})
    following = asyncio.create_task(follow(runner, request))
    await until((tmp_path / "started").exists)
    await runner.kill()
    assert last_words.read_text() == "goodbye"
    with pytest.raises(RunnerDiedError):
        await following
    await runner.release()


async def test_a_frozen_runner_is_killed_too(pool: RunnerPool, execute: Any) -> None:
    runner = await pool.acquire("ends")
    request = execute({"name": "t", "answer": "a", "tool": ["end", {"how": "freeze"}]})
    following = asyncio.create_task(follow(runner, request))
    process = psutil.Process(runner.pid)
    await until(lambda: process.status() == psutil.STATUS_STOPPED)
    await runner.kill()
    assert not process.is_running()
    with pytest.raises(RunnerDiedError):
        await following
    await runner.release()
    assert await pool_still_works(pool, execute)


async def test_what_a_finished_run_left_running_is_gone_before_the_next(
    pool: RunnerPool, execute: Any, tmp_path: Path, processes_of: Find
) -> None:
    started = tmp_path / "started"
    arguments = {"pid_file": str(started), "forever": False}
    runner = await pool.acquire("left")
    messages = await follow(
        runner, execute({"name": "t", "answer": "a", "tool": ["spin", arguments]})
    )
    assert messages[-1].HasField("finished")
    await runner.release()
    assert processes_of(str(started)) == []
    again = await pool.acquire("left")
    assert again is runner
    await again.release()


@pytest.mark.parametrize(
    ("how", "description"),
    [
        ("kill", r"killed by signal 9 \(out of memory\?\)"),
        ("segfault", r"killed by signal 11 \(SIGSEGV\)"),
        ("os._exit", "exited with status 3"),
        ("garbage", "it announced a message of"),
        ("hang up", "it closed its connection"),
    ],
)
async def test_a_runner_that_ends_before_its_run_says_how(
    pool: RunnerPool, execute: Any, how: str, description: str
) -> None:
    runner = await pool.acquire("ends")
    request = execute({"name": "t", "answer": "a", "tool": ["end", {"how": how}]})
    with pytest.raises(RunnerDiedError, match=description):
        await follow(runner, request)
    assert not psutil.pid_exists(runner.pid)
    await runner.release()
    assert await pool_still_works(pool, execute)


async def pool_still_works(pool: RunnerPool, execute: Any) -> bool:
    runner = await pool.acquire("ends")
    messages = await follow(runner, execute({"name": "t", "answer": "a"}))
    await runner.release()
    return messages[-1].HasField("finished")


async def test_a_runner_whose_run_was_abandoned_is_not_used_again(
    pool: RunnerPool, execute: Any
) -> None:
    runner = await pool.acquire("abandoned")
    async for _ in runner.execute(execute({"name": "t", "answer": "a"})):
        break
    await runner.release()
    assert not psutil.pid_exists(runner.pid)


async def test_a_new_zygote_takes_over_when_the_old_one_is_killed(
    pool: RunnerPool, spin: Any, execute: Any, processes_of: Find
) -> None:
    request, started = spin
    runner = await pool.acquire("orphaned")
    following = asyncio.create_task(follow(runner, request))
    await until(started.exists)
    zygote = psutil.Process(runner.pid).ppid()
    os.kill(zygote, signal.SIGKILL)
    with pytest.raises(RunnerDiedError, match="its parent process died"):
        await following
    await runner.release()
    assert processes_of(str(started)) == []
    again = await pool.acquire("orphaned")
    assert psutil.Process(again.pid).ppid() != zygote
    messages = await follow(again, execute({"name": "t", "answer": "a"}))
    assert messages[-1].HasField("finished")
    await again.release()


async def test_runs_that_come_while_a_zygote_dies_get_runners_of_the_next(
    pool: RunnerPool, execute: Any
) -> None:
    held = await pool.acquire("holds the spare")
    zygote = psutil.Process(held.pid).parent()
    zygote.suspend()

    async def run(number: int) -> bool:
        runner = await pool.acquire(f"comes-{number}")
        messages = await follow(runner, execute({"name": "t", "answer": "a"}))
        await runner.release()
        return messages[-1].HasField("finished")

    runs = [asyncio.create_task(run(number)) for number in range(2)]
    await asyncio.sleep(0.1)  # they have asked for a fork that is never answered
    zygote.kill()
    for number in range(2, 10):
        await asyncio.sleep(0.01)
        runs.append(asyncio.create_task(run(number)))
    assert all(await asyncio.gather(*runs))
    await held.release()


WORKER = """
import asyncio, sys
from crewmesh.v1.runner_pb2 import Execute
from crewmesh_worker.runner.pool import RunnerPool, RunnerSettings

async def main():
    settings, request, scratch = sys.argv[1:]
    pool = RunnerPool(RunnerSettings.model_validate_json(settings))
    await pool.start()
    runner = await pool.acquire("a")
    async for message in runner.execute(Execute.FromString(bytes.fromhex(request))):
        pass

asyncio.run(main())
"""


@pytest.fixture
async def worker(spin: Any, runner_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[Any]:
    """A process that runs the request and waits for it."""
    request, started = spin
    settings = RunnerSettings(**runner_settings, scratch_dir=tmp_path / "scratch")
    arguments = [settings.model_dump_json(), request.SerializeToString().hex(), str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, *arguments),
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[2]}"},
    )
    await until(started.exists)
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_nothing_outlives_a_worker_that_is_killed(
    worker: asyncio.subprocess.Process, tmp_path: Path, processes_of: Find
) -> None:
    # The zygote, the run, a spare, and what the run's tool has started.
    assert len(processes_of(str(tmp_path))) >= 6
    worker.kill()
    await worker.wait()
    await until(lambda: not processes_of(str(tmp_path)))
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_a_run_that_comes_after_its_lease_has_run_out_is_not_begun(
    pool: RunnerPool, execute: Any
) -> None:
    deadly = {"name": "t", "answer": "a", "tool": ["end", {"how": "kill"}]}
    runner = await pool.acquire("late")
    with pytest.raises(RunnerDiedError, match="exited with status 1"):
        await follow(runner, execute(deadly, start_before_us=clock.now_us() - 1))
    await runner.release()

    in_time = execute({"name": "t", "answer": "a"}, start_before_us=clock.now_us() + 60_000_000)
    runner = await pool.acquire("in time")
    assert (await follow(runner, in_time))[-1].HasField("finished")
    await runner.release()
