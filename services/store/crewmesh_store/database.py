"""The pool of connections, and the named statements of sql/*.sql."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, LiteralString, cast

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crewmesh.common.errors import InvalidInputError, UnavailableError
from crewmesh.common.grpc_server import calling
from crewmesh.common.tracing import calling_database

log = structlog.get_logger(__name__)

Row = DictRow
Statements = Mapping[str, LiteralString]

# A Postgres that vanishes without a word is given up after 10 s by who connects, and after 15
# to 25 s by who waits for an answer or for a notification. libpq's own limits are 2 hours.
_SILENCE: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # ms
}
# The pool's pauses between attempts to connect double, so a long outage would end late for it.
# It gives up soon, and whoever waits for a connection has it try anew every so often.
_RECONNECT_SECONDS: Final = 1
_ASK_SECONDS: Final = 2
_ASK_TIMES: Final = 5
# A Postgres process keeps what it has learnt of tables and statements, and grows with it.
_LIFETIME_SECONDS: Final = 600
# A value too large, one that Postgres' types don't take, JSON too deep.
_UNSTORABLE: Final = (
    psycopg.DataError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)


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


def conninfo(url: str) -> str:
    """Return libpq's form of a URL, with limits to silence where the URL has none.

    Raises InvalidInputError for what is no URL of a database.
    """
    try:
        return make_conninfo(
            "", **{"application_name": "crewmesh", **_SILENCE, **conninfo_to_dict(url)}
        )
    except psycopg.ProgrammingError as error:
        raise InvalidInputError(
            f"CREWMESH_DATABASE_URL can't be read: {str(error).strip()}"
        ) from error


# Until the transaction ends: see migrations/versions/0008_row_security.sql.
_ENTER_TENANT: Final = """
SELECT set_config('role', 'crewmesh_tenant', true), set_config('crewmesh.org_id', %(org)s, true),
    set_config('crewmesh.actor', %(actor)s, true)
"""
# Until the transaction ends.
_BY_ONE_PLAN: Final = "SELECT set_config('plan_cache_mode', 'force_generic_plan', true)"


async def _configure(connection: psycopg.AsyncConnection[Row]) -> None:
    # JSON stays the text that it was when it came; nobody here looks inside.
    connection.adapters.register_loader("json", TextLoader)
    # Whoever logs in, and whatever they may do: the store can't get round row-level security.
    await connection.execute("SET ROLE crewmesh_mesh")


def _tenant_of_call() -> dict[str, str] | None:
    """Return whose call is under way, and who makes it, as the audit log tells it."""
    identity = calling()
    if identity is None or not identity.org_id:
        return None
    actor = {
        "user_id": identity.user_id,
        "email": identity.email,
        "role": identity.role,
        "api_key_id": identity.api_key_id,
        "service": identity.service,
        "request_id": structlog.contextvars.get_contextvars().get("request_id"),
    }
    return {
        "org": identity.org_id,
        "actor": json.dumps({name: value for name, value in actor.items() if value}),
    }


class Database:
    """Runs single statements, each in a transaction of its own.

    In a call on an organisation's behalf, Postgres shows and takes rows of this organisation
    only, whatever the statement says.
    """

    def __init__(self, url: str, connections: int) -> None:
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Row]] = AsyncConnectionPool(
            conninfo(url),
            min_size=2,
            max_size=connections,
            open=False,
            reconnect_timeout=_RECONNECT_SECONDS,
            max_lifetime=_LIFETIME_SECONDS,
            configure=_configure,
            kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": 1},
        )
        self._returning: set[asyncio.Future[None]] = set()

    async def open(self) -> None:
        """Begin to connect; statements wait until there is a connection. Twice does no harm."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    def statistics(self) -> Mapping[str, int]:
        """Return what psycopg's pool counts: pool_size, requests_waiting and more."""
        return self._pool.get_stats()

    async def fetch(self, statement: LiteralString, **parameters: Any) -> list[Row]:
        """Execute and return all rows; none for a statement that returns nothing.

        Raises UnavailableError when Postgres is away, out of connections or full.
        """
        tenant = _tenant_of_call()
        async with self._connection() as connection:
            if tenant:
                # In a pipeline without BEGIN, both are one transaction and one round trip.
                async with connection.pipeline():
                    await connection.execute(_ENTER_TENANT, tenant)
                    cursor = await connection.execute(statement, parameters)
            else:
                cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall() if cursor.description else []

    async def fetch_by_one_plan(self, statement: LiteralString, **parameters: Any) -> list[Row]:
        """Do as `fetch`, for the mesh, what has one best plan whatever its parameters.

        Of large tables Postgres believes that it hasn't, and plans the statement each time anew;
        what is long and done often takes as much time for that as for all the rest.
        """
        # In a pipeline without BEGIN, both are one transaction and one round trip.
        async with self._connection() as connection, connection.pipeline():
            await connection.execute(_BY_ONE_PLAN)
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()

    async def fetch_after(
        self, lock: LiteralString, statement: LiteralString, **parameters: Any
    ) -> list[Row]:
        """Execute `lock`, then, seeing what others committed before it, the statement.

        Both are one transaction, so the lock is held until the statement has committed. It is
        planned once, as by `fetch_by_one_plan`.
        """
        async with (
            self._connection() as connection,
            connection.pipeline(),  # one round trip
            connection.transaction(),
        ):
            if tenant := _tenant_of_call():
                await connection.execute(_ENTER_TENANT, tenant)
            await connection.execute(_BY_ONE_PLAN)
            await connection.execute(lock, parameters)
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
        try:
            with calling_database("postgresql"):
                connection = await self._take_connection()
                try:
                    yield connection
                except asyncio.CancelledError:
                    # It may be left in its pipeline, where later statements return no rows.
                    await connection.close()
                    raise
                finally:
                    await self._return(connection)
        except _UNSTORABLE as error:
            identity = calling()
            if identity is None or not identity.org_id:
                raise
            # What a servicer should have refused, so that it could name the field.
            log.warning("Postgres refused a value of a call", reason=str(error))
            raise InvalidInputError("a value in this call can't be stored") from error
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
            raise UnavailableError(
                "the database is not available", retry_after_seconds=1
            ) from error

    async def _return(self, connection: psycopg.AsyncConnection[Row]) -> None:
        """Give a connection back, whoever is cancelled meanwhile: the pool would miss it for ever."""
        returning = asyncio.ensure_future(self._pool.putconn(connection))
        self._returning.add(returning)
        returning.add_done_callback(self._returning.discard)
        await asyncio.shield(returning)

    async def _take_connection(self) -> psycopg.AsyncConnection[Row]:
        for _ in range(_ASK_TIMES - 1):
            with contextlib.suppress(PoolTimeout):
                return await self._pool.getconn(_ASK_SECONDS)
        return await self._pool.getconn(_ASK_SECONDS)

    async def fetch_one(self, statement: LiteralString, **parameters: Any) -> Row | None:
        """Execute and return the first row, if there is one."""
        rows = await self.fetch(statement, **parameters)
        return rows[0] if rows else None
