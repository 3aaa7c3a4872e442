"""The pool of connections, and the named statements of sql/*.sql."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crewmesh.common.errors import UnavailableError

Row = DictRow
Statements = Mapping[str, LiteralString]


def load_statements(name: str) -> Statements:
    """Return the statements of `sql/<name>.sql`, by the names in their `-- name:` lines."""
    return load_statements_of(Path(__file__).parent / "sql" / f"{name}.sql")


def load_statements_of(path: Path) -> Statements:
    """Return the statements of a file, by the names in their `-- name:` lines."""
    text = path.read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return {
        statement: cast("LiteralString", body.strip())
        for statement, body in zip(parts[::2], parts[1::2], strict=True)
    }


async def _configure(connection: psycopg.AsyncConnection[Row]) -> None:
    # JSON stays the text that it was when it came; nobody here looks inside.
    connection.adapters.register_loader("json", TextLoader)


class Database:
    """Runs single statements, each in a transaction of its own."""

    def __init__(self, url: str, connections: int) -> None:
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Row]] = AsyncConnectionPool(
            url,
            min_size=2,
            max_size=connections,
            open=False,
            timeout=10,
            configure=_configure,
            kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": 1},
        )
        self.url = url

    async def open(self) -> None:
        """Connect; raise UnavailableError when Postgres can't be reached within 30 s."""
        try:
            await self._pool.open(wait=True, timeout=30)
        except PoolTimeout as error:
            raise UnavailableError(
                "Postgres can't be reached; check CREWMESH_DATABASE_URL"
            ) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def fetch(self, statement: LiteralString, **parameters: Any) -> list[Row]:
        """Execute and return all rows; none for a statement that returns nothing.

        Raises UnavailableError when Postgres is away, out of connections or full.
        """
        async with self._connection() as connection:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall() if cursor.description else []

    async def fetch_after(
        self, lock: LiteralString, statement: LiteralString, **parameters: Any
    ) -> list[Row]:
        """Execute `lock`, then, seeing what others committed before it, the statement.

        Both are one transaction, so the lock is held until the statement has committed.
        """
        async with (
            self._connection() as connection,
            connection.pipeline(),  # one round trip
            connection.transaction(),
        ):
            await connection.execute(lock, parameters)
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
            raise UnavailableError(
                "the database is not available", retry_after_seconds=1
            ) from error

    async def fetch_one(self, statement: LiteralString, **parameters: Any) -> Row | None:
        """Execute and return the first row, if there is one."""
        rows = await self.fetch(statement, **parameters)
        return rows[0] if rows else None
