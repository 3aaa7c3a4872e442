"""Which runner a run gets, and how many there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from crewmesh.common.errors import UnavailableError
from crewmesh_worker.runner.pool import Runner, RunnerPool, RunnerSettings

from .conftest import until

SLOTS, SPARES = 3, 1
# Those that are kept, those on their way out, those being forked for a slot, and the spare.
MOST = 3 * SLOTS + SPARES


async def run_once(runner: Runner, request: Any) -> str:
    messages = [message async for message in runner.execute(request)]
    await runner.release()
    output: str = messages[-1].finished.output
    return output


def processes(runner: Runner) -> list[psutil.Process]:
    """Return all live runners of the pool, by one of them."""
    return [child for child in psutil.Process(runner.pid).parent().children() if lives(child)]


def lives(process: psutil.Process) -> bool:
    """Tell whether a process does, which others may end at any time."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def answer(execute: Any) -> Any:
    return execute({"name": "t", "answer": "a"})


async def test_an_affinity_gets_its_runner_again_and_no_other_ever_does(
    pool: RunnerPool, answer: Any
) -> None:
    seen: dict[int, set[str]] = {}
    for affinity in (
        "org-1/crew/1",
        "org-2/crew/1",
        "org-1/crew/2",
        "org-1/crew/1",
        "org-2/crew/1",
    ):
        runner = await pool.acquire(affinity)
        seen.setdefault(runner.pid, set()).add(affinity)
        await run_once(runner, answer)
    assert all(len(affinities) == 1 for affinities in seen.values())
    assert len(seen) == 3


async def test_under_load_affinities_are_not_mixed_and_processes_stay_bounded(
    pool: RunnerPool, answer: Any
) -> None:
    served: dict[int, set[str]] = {}
    most = 0

    async def run(affinity: str) -> None:
        nonlocal most
        runner = await pool.acquire(affinity)
        served.setdefault(runner.pid, set()).add(affinity)
        most = max(most, len(processes(runner)))
        assert await run_once(runner, answer) == "a"

    await asyncio.gather(*(run(f"load-{number % 7}") for number in range(40)))
    assert all(len(affinities) == 1 for affinities in served.values())
    assert most <= MOST


async def test_runners_that_end_slowly_are_waited_for_before_others_begin(
    pool: RunnerPool, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that is too busy to end them."""
    may_end, ending, kill = asyncio.Event(), [], Runner.kill

    async def kill_slowly(runner: Runner) -> None:
        ending.append(runner)
        await may_end.wait()
        await kill(runner)

    async def run_many() -> int:
        most = 0
        for number in range(20):
            runner = await pool.acquire(f"slow-{number}")
            most = max(most, len(processes(runner)))
            await run_once(runner, answer)
        return most

    monkeypatch.setattr(Runner, "kill", kill_slowly)
    many = asyncio.create_task(run_many())
    await until(lambda: len(ending) >= SLOTS)
    done, _ = await asyncio.wait([many], timeout=3)
    waited_for = len(ending)
    may_end.set()
    assert await many <= MOST
    assert not done
    assert waited_for <= SLOTS + SPARES + 1


async def test_a_run_waits_while_all_slots_are_taken(pool: RunnerPool) -> None:
    runners = [await pool.acquire(f"slot-{number}") for number in range(SLOTS)]
    waiting = asyncio.create_task(pool.acquire("slot-0"))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    await runners[0].release()
    assert await waiting is runners[0]
    for runner in runners:
        await runner.release()


async def test_giving_up_waiting_takes_no_slot(pool: RunnerPool) -> None:
    runners = [await pool.acquire(f"slot-{number}") for number in range(SLOTS)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pool.acquire("impatient"), 0.1)
    for runner in runners:
        await runner.release()
        await runner.release()  # the second changes nothing
    again = [await asyncio.wait_for(pool.acquire(f"slot-{n}"), 30) for n in range(SLOTS)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pool.acquire("one too many"), 0.1)
    for runner in again:
        await runner.release()


async def test_a_runner_retires_after_its_number_of_runs(pool: RunnerPool, answer: Any) -> None:
    pids = []
    for _ in range(7):
        runner = await pool.acquire("retire")
        pids.append(runner.pid)
        await run_once(runner, answer)
    assert pids == [pids[0]] * 5 + [pids[5]] * 2
    assert pids[0] != pids[5]
    assert not psutil.pid_exists(pids[0])


async def test_a_runner_that_has_grown_retires(pool: RunnerPool, execute: Any) -> None:
    runner = await pool.acquire("grow")
    await run_once(
        runner, execute({"name": "t", "answer": "a", "tool": ["hoard", {"megabytes": 4}]})
    )
    assert await pool.acquire("grow") is runner
    await run_once(
        runner, execute({"name": "t", "answer": "a", "tool": ["hoard", {"megabytes": 16}]})
    )
    successor = await pool.acquire("grow")
    assert successor is not runner
    await successor.release()


async def test_an_idle_runner_that_dies_is_not_handed_out(pool: RunnerPool, answer: Any) -> None:
    runner = await pool.acquire("idle")
    await run_once(runner, answer)
    process = psutil.Process(runner.pid)
    process.kill()
    await until(lambda: not runner.alive)
    successor = await pool.acquire("idle")
    assert successor is not runner
    assert await run_once(successor, answer) == "a"


async def test_a_runner_that_never_ran_anything_is_kept(pool: RunnerPool, answer: Any) -> None:
    runner = await pool.acquire("unused")
    await runner.release()
    assert await pool.acquire("unused") is runner
    assert await run_once(runner, answer) == "a"


async def test_a_runner_whose_run_waits_for_a_person_is_free_for_others(
    pool: RunnerPool, execute: Any, answer: Any
) -> None:
    runner = await pool.acquire("waits")
    request = execute({"name": "t", "answer": "a", "human": True})
    messages = [message async for message in runner.execute(request)]
    assert messages[-1].HasField("waiting")
    await runner.release()
    assert await pool.acquire("waits") is runner
    assert await run_once(runner, answer) == "a"


async def test_stopping_ends_every_process_and_removes_every_file(
    worker_environment: None,
    runner_settings: dict[str, Any],
    tmp_path: Path,
    processes_of: Callable[[str], list[psutil.Process]],
) -> None:
    pool = RunnerPool(RunnerSettings(**runner_settings, scratch_dir=tmp_path))
    await pool.start()
    runner = await pool.acquire("stop")
    zygote = psutil.Process(runner.pid).ppid()
    assert runner.work_dir.is_relative_to(tmp_path)
    await pool.stop()
    assert not psutil.pid_exists(runner.pid)
    assert not psutil.pid_exists(zygote)
    assert processes_of(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


async def test_a_builder_that_cannot_be_imported_stops_the_start(
    worker_environment: None, runner_settings: dict[str, Any], tmp_path: Path
) -> None:
    wrong = {**runner_settings, "builder": "no_such_module:build", "scratch_dir": tmp_path}
    pool = RunnerPool(RunnerSettings(**wrong))
    with pytest.raises(UnavailableError, match=r"runners can't be started: .* see the log above"):
        await pool.start()
    assert list(tmp_path.iterdir()) == []
