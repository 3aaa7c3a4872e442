"""Row-level security: what a tenant sees and changes even where the SQL forgets its WHERE."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from typing import Any, LiteralString, cast

import grpc
import psycopg
import pytest

from crewmesh.common.errors import InvalidInputError, StateError
from crewmesh.common.grpc_server import acting_as
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2
from crewmesh_store.database import Database
from crewmesh_store.migrations import migrate
from crewmesh_store.runs import repository as runs
from tests.integration.conftest import StoreClient

# Tables that are no tenant's, and what a tenant's calls may do with them.
NOBODYS = {
    "alembic_version": set[str](),
    "refresh_tokens": set[str](),
    "request_counts": set[str](),
    "run_transitions": {"SELECT"},
    "shared_crew_versions": {"SELECT"},
    "sign_in_failures": set[str](),
    "signing_keys": set[str](),
    "workers": {"SELECT"},
}
# Parts of a tenant's rows that have no org_id of their own, and the tenants themselves.
WITHOUT_ORG_ID = {"budget_spending", "orgs", "reservations"}
# Every id but the organisation's is this one, so that parts find their wholes.
AN_ID = str(uuid.uuid4())
VALUES = {
    "uuid": f"'{AN_ID}'",
    "text": "'x'",
    "json": "'{}'",
    "bytea": "'x'",
    "bigint": "1",
    "integer": "1",
    "real": "1",
    "boolean": "false",
    "timestamp with time zone": "now()",
    "run_status": "'queued'",
}
# Where a table's checks want another value than its type's.
SPECIAL = {
    ("budgets", "max_tokens"): "1",
    ("budgets", "period"): "'day'",
    ("memories", "session_id"): "''",
    ("session_messages", "role"): "'user'",
    ("users", "role"): "'viewer'",
}
_TABLES = """
SELECT relname::text, EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'org_id'
), relrowsecurity
FROM pg_class c
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
ORDER BY relname
"""
_COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, NULL)
FROM pg_attribute a
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
    AND ((a.attnotnull AND NOT a.atthasdef) OR a.attname = 'id')
"""


@pytest.fixture
def admin(database_url: str) -> Any:
    """A superuser's connection to a migrated database of two organisations."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def tenants(admin: psycopg.Connection[Any]) -> list[Identity]:
    # Without triggers: only the rows that a test puts there.
    admin.execute("SET session_replication_role = replica")
    rows = admin.execute(
        "INSERT INTO orgs (name) VALUES ('a'), ('b') RETURNING id::text"
    ).fetchall()
    return [Identity("api_gateway", row[0], "somebody", "owner") for row in rows]


@pytest.fixture
async def database(admin: psycopg.Connection[Any], database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, 2)
    await database.open()
    yield database
    await database.close()


def protected(admin: psycopg.Connection[Any]) -> list[str]:
    return [name for name, with_org, _ in admin.execute(_TABLES) if with_org] + sorted(
        WITHOUT_ORG_ID
    )


def insertion(admin: psycopg.Connection[Any], table: str, org_id: str) -> LiteralString:
    """Return a statement that adds one row of the organisation's."""
    columns = dict(admin.execute(_COLUMNS, [table]).fetchall())
    values = {
        column: f"'{org_id}'" if column == "org_id" else VALUES[kind]
        for column, kind in columns.items()
    } | {column: value for (name, column), value in SPECIAL.items() if name == table}
    return cast(
        "LiteralString",
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})",
    )


def fill(admin: psycopg.Connection[Any], org_id: str) -> list[str]:
    """Put one row of the organisation's into every protected table; return their names."""
    tables = protected(admin)
    for table in tables:
        if table != "orgs":
            admin.execute(insertion(admin, table, org_id))
    return tables


async def attempt(
    database: Database, who: Identity | None, statement: str
) -> list[dict[str, Any]] | str:
    """Return a statement's rows, or why it was refused."""
    try:
        if who is None:
            return await database.fetch(cast("LiteralString", statement))
        with acting_as(who):
            return await database.fetch(cast("LiteralString", statement))
    except psycopg.errors.InsufficientPrivilege:
        return "refused"


def test_every_table_is_protected_or_known_to_be_nobodys(admin: psycopg.Connection[Any]) -> None:
    found = admin.execute(_TABLES).fetchall()
    assert {name for name, _, secure in found if secure} == {*protected(admin)}
    assert {name for name, _, secure in found if not secure} == NOBODYS.keys()
    granted: dict[str, set[str]] = {name: set() for name in NOBODYS}
    for name, privilege in admin.execute(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = 'crewmesh_tenant' AND table_name = ANY(%s)",
        [list(NOBODYS)],
    ):
        granted[name].add(privilege)
    assert granted == NOBODYS


async def test_a_foreign_tenant_sees_nothing_of_any_table(
    admin: psycopg.Connection[Any], database: Database, tenants: list[Identity]
) -> None:
    owner, stranger = tenants
    seen = {}
    for table in fill(admin, owner.org_id):
        mine = "id" if table == "orgs" else "1"
        query = f"SELECT {mine} FROM {table}"
        seen[table] = [await attempt(database, who, query) for who in (owner, stranger, None)]
    assert len(seen) > 20
    for table, (own, foreign, everything) in seen.items():
        if table == "orgs":
            # Each sees its own.
            assert (len(own), len(foreign), own == foreign) == (1, 1, False)
            continue
        assert foreign in ([], "refused"), table
        assert own == "refused" or len(own) == 1, table
        assert len(everything) == 1, table
    assert sum(own == "refused" for own, _, _ in seen.values()) == 4


async def test_a_foreign_tenant_changes_nothing_of_any_table(
    admin: psycopg.Connection[Any], database: Database, tenants: list[Identity]
) -> None:
    owner, stranger = tenants
    for table in fill(admin, owner.org_id):
        if table == "orgs":
            update = "UPDATE orgs SET max_queued = 1 WHERE name = 'a' RETURNING 1"
        else:
            column = "budget_id" if table in WITHOUT_ORG_ID else "org_id"
            update = f"UPDATE {table} SET {column} = {column} RETURNING 1"
            add = insertion(admin, table, owner.org_id).replace(AN_ID, str(uuid.uuid4()))
            assert await attempt(database, stranger, add) == "refused", table
        assert await attempt(database, stranger, update) in ([], "refused"), table
        delete = f"DELETE FROM {table} RETURNING 1"
        assert await attempt(database, stranger, delete) in ([], "refused"), table


async def test_a_tenant_gives_no_row_away(
    admin: psycopg.Connection[Any], database: Database, tenants: list[Identity]
) -> None:
    owner, stranger = tenants
    fill(admin, owner.org_id)
    for table in ("runs", "secrets", "users", "datasets"):
        give = f"UPDATE {table} SET org_id = '{stranger.org_id}'"
        assert await attempt(database, owner, give) == "refused", table


async def test_neither_role_gets_round_the_policies(admin: psycopg.Connection[Any]) -> None:
    roles = admin.execute(
        "SELECT rolname, rolsuper, rolbypassrls, rolcanlogin, rolcreaterole FROM pg_roles"
        " WHERE rolname IN ('crewmesh_tenant', 'crewmesh_mesh')"
    ).fetchall()
    assert len(roles) == 2
    assert not any(any(flags) for _, *flags in roles)
    owned = admin.execute(
        "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) LIKE 'crewmesh%%'"
    ).fetchone()
    assert owned == (0,)


async def test_whoever_logs_in_the_store_acts_as_one_of_the_two(
    database: Database, tenants: list[Identity]
) -> None:
    who = "SELECT current_user::text AS role, current_setting('crewmesh.org_id', true) AS org"
    assert await attempt(database, None, who) == [{"role": "crewmesh_mesh", "org": None}]
    for tenant in tenants:
        expected = [{"role": "crewmesh_tenant", "org": tenant.org_id}]
        assert await attempt(database, tenant, who) == expected
    # Nothing of it is left over in the connections, after a failure neither.
    with pytest.raises(InvalidInputError), acting_as(tenants[0]):
        await database.fetch("SELECT 1 / 0")
    for _ in range(4):
        (row,) = await database.fetch(who)
        assert (row["role"], row["org"] or None) == ("crewmesh_mesh", None)
    with acting_as(tenants[1]):
        (row,) = await database.fetch_after("SELECT 1", who)
    assert (row["role"], row["org"]) == ("crewmesh_tenant", tenants[1].org_id)


async def test_a_statement_without_its_condition_finds_no_foreign_run(
    store: StoreClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = (await store.create()).run
    for name in ("get_run", "get_runs_with_tasks"):
        careless = re.sub(r"(r\.)?org_id = (%\(org_id\)s)", r"\2::text IS NOT NULL", runs.SQL[name])
        monkeypatch.setitem(cast("Any", runs.SQL), name, careless)
    assert (await store.get(run.id)).id == run.id
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("INSERT INTO orgs (name) VALUES ('b') RETURNING id").fetchone()
    assert row is not None
    store.org = Identity("api_gateway", str(row[0]), "somebody", "owner")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.runs.GetRun(agent_pb2.GetRunRequest(run_id=run.id), metadata=store.person)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_login_that_may_not_act_as_them_is_told_what_to_do(
    admin: psycopg.Connection[Any], database_url: str
) -> None:
    login = f"plain_{uuid.uuid4().hex}"
    admin.execute(cast("LiteralString", f"CREATE ROLE {login} LOGIN"))
    try:
        with pytest.raises(StateError, match="GRANT crewmesh_tenant, crewmesh_mesh"):
            migrate(database_url.replace("//postgres:@", f"//{login}:@"))
    finally:
        admin.execute(cast("LiteralString", f"DROP ROLE {login}"))
