"""The database's way into a backup and out of it, by Postgres's own programs."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crewmesh.cli.backups.archive import Advance, read_chunks
from crewmesh.cli.errors import CliError
from crewmesh.cli.mesh.postgres import Postgres

if TYPE_CHECKING:
    import psycopg

# Every table but the partitions of others.
_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
ORDER BY relname
"""
_FILES = """
SELECT id::text, sha256, size_bytes FROM datasets
UNION ALL SELECT id::text, sha256, size_bytes FROM artifacts
"""


@dataclass(frozen=True)
class StoredFile:
    """The bytes that a dataset or an artifact has."""

    sha256: bytes
    size: int


@dataclass(frozen=True)
class Snapshot:
    """The database at one moment, which is there to be dumped as long as it is held."""

    id: str
    postgres: str
    schema: str
    tables: dict[str, int]
    # Datasets and artifacts by id.
    files: dict[str, StoredFile]


@contextlib.contextmanager
def hold_snapshot(url: str) -> Iterator[Snapshot]:
    """Hold one snapshot; the tables' locks keep retention from dropping a part of it."""
    with _connected(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        tables = count_rows(connection)
        yield Snapshot(
            id=_value(connection, "SELECT pg_export_snapshot()"),
            postgres=_value(connection, "SHOW server_version"),
            schema=_value(connection, "SELECT version_num FROM alembic_version"),
            tables=tables,
            files={row[0]: StoredFile(*row[1:]) for row in connection.execute(_FILES)},
        )


def count_rows(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Return how many rows each table has."""
    from psycopg import sql

    counts = {}
    for (name,) in connection.execute(_TABLES).fetchall():
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
        ).fetchone()
        assert row is not None
        counts[name] = row[0]
    return counts


def dump(postgres: Postgres, snapshot: Snapshot, advance: Advance) -> Iterator[bytes]:
    """Yield a dump of the snapshot in Postgres's own compressed format."""
    command = [
        postgres.program("pg_dump"),
        "--format=custom",
        f"--snapshot={snapshot.id}",
        postgres.url,
    ]
    with _running(command) as process:
        assert process.stdout is not None
        yield from read_chunks(process.stdout, advance)


def load(postgres: Postgres, chunks: Iterable[bytes], manifest_tables: dict[str, int]) -> None:
    """Fill the empty database from a dump; raise CliError unless all rows are there."""
    command = [postgres.program("pg_restore"), "--exit-on-error", f"--dbname={postgres.url}"]
    with _running(command) as process:
        assert process.stdin is not None
        # Why it stopped reading, its own message says.
        with contextlib.suppress(BrokenPipeError):
            for chunk in chunks:
                process.stdin.write(chunk)
    with _connected(postgres.url) as connection:
        connection.execute("ANALYZE")
        counts = count_rows(connection)
    if counts != manifest_tables:
        odd = sorted(dict(counts.items() ^ manifest_tables.items()))
        raise CliError("the restored tables aren't those of the backup", details=odd)


def forget_files(postgres: Postgres, ids: list[str]) -> None:
    """Delete the rows of files whose bytes the backup doesn't have."""
    with _connected(postgres.url) as connection:
        connection.execute("DELETE FROM datasets WHERE id = ANY(%s::uuid[])", (ids,))
        connection.execute("DELETE FROM artifacts WHERE id = ANY(%s::uuid[])", (ids,))


@contextlib.contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold a connection and its transaction; raise CliError when the database fails."""
    import psycopg

    try:
        with psycopg.connect(url) as connection:
            yield connection
    except psycopg.Error as error:
        raise CliError(
            "the database broke off",
            why=str(error),
            next_step="see that the mesh is up with `crewmesh doctor`, and try again",
        ) from error


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program to its end; raise CliError with its last lines when it fails."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        if process.returncode != 0:
            errors.seek(0)
            lines = errors.read().decode("utf-8", errors="replace").splitlines()
            raise CliError(
                f"{command[0].rpartition('/')[2]} ended with status {process.returncode}",
                why="its last lines were",
                details=lines[-8:],
            )


def _value(connection: psycopg.Connection[Any], query: Any) -> str:
    row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])
