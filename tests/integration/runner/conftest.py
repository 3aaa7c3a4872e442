"""Real runner processes, with crews and a model of the tests' own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from crewmesh.v1.runner_pb2 import EffectKept, Execute, FromRunner, ToRunner
from crewmesh_worker.runner.pool import RunnerPool, RunnerSettings

HERE = Path(__file__).parent


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


RunCrew = Callable[..., Awaitable[list[FromRunner]]]


@pytest.fixture(scope="module")
def runner_settings() -> dict[str, Any]:
    return {
        "slots": 3,
        "spares": 1,
        "max_runs_per_runner": 5,
        "max_growth_mb": 16,
        "builder": "runner_crews:build_crew",
        "model_factory": "runner_crews:make_llm",
    }


@pytest.fixture(scope="module")
def worker_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parents[2]}")
        environment.setenv("CREWMESH_MESH_SECRET", "the mesh's secret")
        yield


@pytest.fixture(scope="module")
async def pool(
    worker_environment: None, runner_settings: dict[str, Any]
) -> AsyncIterator[RunnerPool]:
    pool = RunnerPool(RunnerSettings(**runner_settings))
    await pool.start()
    yield pool
    await pool.stop()


@pytest.fixture(scope="session")
def execute() -> Callable[..., Execute]:
    """Make a request of task scripts; see runner_crews."""

    def make(*tasks: dict[str, Any], **fields: Any) -> Execute:
        return Execute(
            run_id="run-1",
            definition_json=json.dumps({"tasks": tasks}),
            inputs_json=json.dumps({"topic": "cars"}),
            model="scripted",
            **fields,
        )

    return make


@pytest.fixture
def run_crew(pool: RunnerPool, execute: Callable[..., Execute]) -> RunCrew:
    """Run tasks on a runner of the affinity and return all that it says."""

    async def run(
        *tasks: dict[str, Any], affinity: str = "tests", **fields: Any
    ) -> list[FromRunner]:
        runner = await pool.acquire(affinity)
        try:
            messages = []
            async for message in runner.execute(execute(*tasks, **fields)):
                messages.append(message)
                if message.HasField("effect"):
                    kept = EffectKept(key=message.effect.key)
                    await runner.answer(ToRunner(effect_kept=kept))
            return messages
        finally:
            await runner.release()

    return run


@pytest.fixture
def processes_of() -> Callable[[str], list[psutil.Process]]:
    """Find live processes by what their command line or environment holds."""

    def find(mark: str) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if _bears(process, mark)]

    return find


def _bears(process: psutil.Process, mark: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return mark in str(process.cmdline()) or mark in process.environ().values()
    except psutil.Error:
        return False
