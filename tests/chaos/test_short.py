"""The short form of `make chaos`: every kind of part is hit once, within a minute."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_FAULTS = (
    "worker killed",
    "worker frozen",
    "runner killed",
    "runner frozen",
    "gateway killed",
    "gateway asked to end",
    "store killed",
    "Postgres killed",
    "worker to store: black hole",
    "store to postgres: cut",
    "client to worker: cut",
)


@pytest.mark.timeout(1200)  # on a machine that has a dozen other things to do
async def test_a_mesh_under_faults_breaks_no_promise() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos", "--seed", "7", "--runs", "40"),
        *("--faults", str(len(_FAULTS)), "--only", ",".join(_FAULTS)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
