"""What becomes of the store's connections when those who use them are cut short."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crewmesh.common.grpc_server import acting_as
from crewmesh.common.identity import Identity
from crewmesh_store.database import Database
from tests.conftest import until


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, 2)
    await database.open()
    yield database
    await database.close()


async def _fetch(database: Database) -> Any:
    return await database.fetch("SELECT pg_sleep(0.001)")


async def _fetch_of_a_tenant(database: Database) -> Any:
    with acting_as(Identity("agent_worker", str(uuid.uuid4()), "somebody", "developer")):
        return await database.fetch("SELECT pg_sleep(0.001)")


async def _fetch_after(database: Database) -> Any:
    return await database.fetch_after("SELECT pg_advisory_xact_lock(7)", "SELECT pg_sleep(0.001)")


@pytest.mark.parametrize("use", [_fetch, _fetch_of_a_tenant, _fetch_after])
async def test_a_statement_that_was_cancelled_costs_no_later_one_its_rows(
    database: Database, use: Any
) -> None:
    """A connection that was cut short in a pipeline stayed in it, and gave no rows to anybody."""
    for step in range(100):
        cut_short = [asyncio.create_task(use(database)) for _ in range(4)]
        await asyncio.sleep(step * 0.0001)  # each is somewhere else by then
        for task in cut_short:
            task.cancel()
        await asyncio.wait(cut_short)
        for number in range(4):
            row = await database.fetch_one("SELECT %(number)s::int AS n", number=number)
            assert row == {"n": number}


@pytest.mark.parametrize("use", [_fetch, _fetch_of_a_tenant, _fetch_after])
async def test_no_connection_is_lost_when_many_who_use_or_await_one_are_cancelled(
    database: Database, use: Any
) -> None:
    for step in range(30):
        crowd = [asyncio.create_task(use(database)) for _ in range(40)]
        for task in crowd:
            await asyncio.sleep(0.0002)
            task.cancel()
        await asyncio.wait(crowd)
        assert await database.fetch_one("SELECT %(n)s::int AS n", n=step) == {"n": step}

    async def all_are_back() -> bool:
        pool = database.statistics()
        return pool["pool_available"] == pool["pool_size"]

    await until(all_are_back)
