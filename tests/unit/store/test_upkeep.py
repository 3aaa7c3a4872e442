"""What a store's replica does from time to time."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from crewmesh.common.errors import UnavailableError
from crewmesh_store.upkeep import repeat


async def test_what_fails_is_logged_and_done_again(capfd: pytest.CaptureFixture[str]) -> None:
    faults = iter([UnavailableError("the database is not available"), psycopg.Error("odd"), None])
    done = asyncio.Event()

    async def tidy() -> None:
        if fault := next(faults):
            raise fault
        done.set()

    repeating = asyncio.create_task(repeat(tidy, 0.01))
    await asyncio.wait_for(done.wait(), 10)
    repeating.cancel()
    said = capfd.readouterr().out
    assert said.count("upkeep goes on later") == 2
    assert "tidy" in said
    assert "the database is not available" in said


async def test_a_fault_in_the_work_itself_ends_the_store() -> None:
    async def broken() -> None:
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        await asyncio.wait_for(repeat(broken, 0.01, pause_first=True), 10)
