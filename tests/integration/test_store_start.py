"""How replicas of the store start."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from crewmesh.common.errors import UnavailableError
from crewmesh_store.migrations import migrate
from tests.integration.conftest import serving_store


async def test_replicas_that_start_at_once_on_an_empty_database_make_one_owner(
    database_url: str, tmp_path: Path
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        replicas = await asyncio.gather(
            *(stack.enter_async_context(serving_store(database_url, tmp_path)) for _ in range(4))
        )
        assert len({(replica.org.org_id, replica.org.user_id) for replica in replicas}) == 1


def test_a_database_that_cannot_be_reached_is_named_as_the_reason() -> None:
    with pytest.raises(UnavailableError, match="CREWMESH_DATABASE_URL"):
        migrate("postgresql://nobody@127.0.0.1:1/nothing")
