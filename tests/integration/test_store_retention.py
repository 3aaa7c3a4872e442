"""What ages out of the store, and what stays, over a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from crewmesh.common.errors import UnavailableError
from crewmesh_store.database import Database
from crewmesh_store.files.objects import Objects, artifact_key
from crewmesh_store.runs import retention
from crewmesh_store.runs.retention import Retention

WEEK = timedelta(days=7)
KEEP = timedelta(days=90)
# Monday noon of a week that is wholly past when 90 days are kept.
OLD = (lambda now: now - timedelta(days=now.weekday()))(
    datetime.now(UTC).replace(hour=12, minute=0)
) - timedelta(weeks=16)


@dataclass
class Past:
    """A database whose runs may have been made at any time."""

    connection: psycopg.Connection[Any]
    directory: Path

    def __post_init__(self) -> None:
        row = self.connection.execute("INSERT INTO orgs (name) VALUES ('o') RETURNING id")
        self.org_id: UUID = row.fetchone()[0]  # type: ignore[index]

    def add_run(
        self, made: datetime, ended: datetime | None, *, events: int = 3, key: str | None = None
    ) -> UUID:
        """Insert a run with its events, in the partition of its week."""
        self.connection.execute("SELECT ensure_event_partition(%s)", (made,))
        run: UUID = self.one("SELECT uuidv7(%s - clock_timestamp())", made)
        self.connection.execute(
            "INSERT INTO runs (id, org_id, crew, crew_version, status, inputs, max_attempts,"
            " priority, timeout_seconds, created_by, last_seq, created_at, finished_at)"
            " VALUES (%s, %s, 'hello', '1', %s, '{}', 1, 0, 60, '', %s, %s, %s)",
            (run, self.org_id, "succeeded" if ended else "waiting", events, made, ended),
        )
        self.connection.execute(
            "INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, payload)"
            " SELECT %s, n, %s, %s, 1, 'log', '{}' FROM generate_series(1, %s) n",
            (run, self.org_id, made, events),
        )
        if key is not None:
            self.connection.execute(
                "INSERT INTO idempotency_keys VALUES (%s, %s, '', %s, %s)",
                (self.org_id, key, run, made),
            )
        return run

    def add_checkpoint_and_effect(self, run: UUID) -> None:
        self.connection.execute(
            "INSERT INTO checkpoints VALUES (%s, 0, %s, 'x', false)", (run, self.org_id)
        )
        self.connection.execute(
            "INSERT INTO effects (run_id, key, org_id, result) VALUES (%s, 'k', %s, 'r')",
            (run, self.org_id),
        )

    def add_artifact(self, run: UUID) -> Path:
        """Insert an artifact and write its bytes; return where they are."""
        artifact: UUID = self.one(
            "INSERT INTO artifacts VALUES (uuidv7(), %s, %s, 'a.png', 'image/png', 3, '')"
            " RETURNING id",
            self.org_id,
            run,
        )
        path = self.directory / artifact_key(self.org_id, artifact)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"png")
        return path

    def one(self, statement: str, *parameters: object) -> Any:
        row = self.connection.execute(statement, parameters).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]

    def runs(self, table: str = "runs", column: str = "id") -> set[UUID]:
        rows = self.connection.execute(f"SELECT DISTINCT {column} FROM {table}")  # type: ignore[arg-type]
        return {row[0] for row in rows}

    def partitions(self) -> set[str]:
        rows = self.connection.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
            " WHERE inhparent = 'run_events'::regclass"
        )
        return {row[0] for row in rows}


def partition_of(moment: datetime) -> str:
    return moment.strftime("run_events_%Gw%V")


@pytest.fixture
def past(database_url: str, tmp_path: Path) -> Iterator[Past]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield Past(connection, tmp_path / "objects")


@pytest.fixture
async def database(database_url: str, past: Past) -> AsyncIterator[Database]:
    database = Database(database_url, 4)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def retain(database: Database, past: Past) -> Retention:
    return Retention(database, Objects(past.directory.as_uri()), KEEP)


async def test_a_week_whose_runs_are_past_goes_whole(past: Past, retain: Retention) -> None:
    for hours in range(5):
        past.add_run(OLD + timedelta(hours=hours), OLD + timedelta(hours=hours + 1))
    young = past.add_run(datetime.now(UTC) - timedelta(days=80), datetime.now(UTC))
    assert await retain.forget() == {"runs": 5, "partitions": 1}
    assert past.runs() == {young}
    assert past.runs("run_events", "run_id") == {young}
    assert partition_of(OLD) not in past.partitions()
    assert await retain.forget() == {}


async def test_a_run_ages_from_its_end_not_from_its_start(past: Past, retain: Retention) -> None:
    slow = past.add_run(OLD, datetime.now(UTC) - timedelta(days=1))
    assert await retain.forget() == {}
    assert past.runs() == {slow}


async def test_a_week_with_a_run_left_is_kept_for_it_and_rid_of_the_others(
    past: Past, retain: Retention
) -> None:
    before = past.add_run(OLD - timedelta(hours=1), OLD)
    waiting = past.add_run(OLD, None)
    after = past.add_run(OLD + timedelta(hours=1), OLD + timedelta(hours=2))
    assert await retain.forget() == {"runs": 2, "logs": 2}
    assert past.runs() == {waiting}
    assert past.runs("run_events", "run_id") == {waiting}
    assert past.one("SELECT count(*) FROM run_events") == 3
    assert {before, after}.isdisjoint(past.runs("run_events", "run_id"))
    past.connection.execute(
        "UPDATE runs SET status = 'timed_out', finished_at = %s WHERE id = %s", (OLD, waiting)
    )
    assert await retain.forget() == {"runs": 1, "partitions": 1}


async def test_events_outside_the_weeks_partitions_go_too(past: Past, retain: Retention) -> None:
    long_ago = past.one("SELECT uuidv7(interval '-300 days')")
    past.connection.execute(
        "INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, payload)"
        " VALUES (%s, 1, %s, now(), 1, 'log', '{}')",
        (long_ago, past.org_id),
    )
    assert await retain.forget() == {"logs": 1}
    assert past.runs("run_events", "run_id") == set()


async def test_more_than_a_batch_goes_in_one_pass(
    past: Past, retain: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 3)
    for minutes in range(10):
        run = past.add_run(OLD + timedelta(minutes=minutes), OLD + WEEK, key=str(minutes))
        past.add_artifact(run)
    past.add_run(OLD, None)
    assert await retain.forget() == {
        "idempotency_keys": 10, "runs": 10, "objects": 10, "logs": 10
    }  # fmt: skip


async def test_checkpoints_and_effects_go_when_their_run_has_ended(
    past: Past, retain: Retention
) -> None:
    ended = past.add_run(datetime.now(UTC), datetime.now(UTC))
    waiting = past.add_run(datetime.now(UTC), None)
    for run in (ended, waiting):
        past.add_checkpoint_and_effect(run)
    assert await retain.forget() == {"checkpoints": 1, "effects": 1}
    assert past.runs("checkpoints", "run_id") == past.runs("effects", "run_id") == {waiting}
    assert past.runs() == {ended, waiting}


async def test_the_bytes_of_artifacts_go_with_their_run(past: Past, retain: Retention) -> None:
    gone = past.add_artifact(past.add_run(OLD, OLD))
    kept = past.add_artifact(past.add_run(datetime.now(UTC), datetime.now(UTC)))
    await retain.forget()
    assert not gone.exists()
    assert kept.exists()
    assert past.one("SELECT count(*) FROM artifacts") == 1


async def test_bytes_that_could_not_be_deleted_are_deleted_later(
    past: Past, database: Database, retain: Retention, tmp_path: Path
) -> None:
    path = past.add_artifact(past.add_run(OLD, OLD))
    # A directory in the file's place: it can't be deleted as a file.
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(UnavailableError):
        await retain.forget()
    assert past.runs() == set()
    (path / "in the way").rmdir()
    path.rmdir()
    path.write_bytes(b"png")
    assert (await retain.forget())["objects"] == 1
    assert not path.exists()


async def test_keys_of_requests_go_after_a_week(past: Past, retain: Retention) -> None:
    now = datetime.now(UTC)
    run = past.add_run(now - timedelta(days=8), now, key="old")
    past.add_run(now - timedelta(days=6), now, key="young")
    assert await retain.forget() == {"idempotency_keys": 1}
    assert past.one("SELECT key FROM idempotency_keys") == "young"
    assert run in past.runs()


async def test_a_run_is_never_outlived_by_its_key(past: Past, database: Database) -> None:
    now = datetime.now(UTC)
    past.add_run(now - timedelta(days=3), now - timedelta(days=2), key="k")
    objects = Objects(past.directory.as_uri())
    await Retention(database, objects, timedelta(days=1)).forget()
    assert past.runs() == past.runs("idempotency_keys", "run_id") == set()


async def test_kept_for_ever_means_that_no_run_goes(past: Past, database: Database) -> None:
    run = past.add_run(OLD, OLD, key="k")
    past.add_checkpoint_and_effect(run)
    objects = Objects(past.directory.as_uri())
    gone = await Retention(database, objects, None).forget()
    assert gone == {"idempotency_keys": 1, "checkpoints": 1, "effects": 1}
    assert past.runs() == {run}


async def test_two_replicas_at_once_delete_everything_once(
    past: Past, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 5)
    for minutes in range(60):
        run = past.add_run(OLD + timedelta(minutes=minutes), OLD + WEEK)
        past.add_artifact(run)
    replicas = [Retention(database, Objects(past.directory.as_uri()), KEEP) for _ in range(2)]
    done = await asyncio.gather(*(replica.forget() for replica in replicas))
    assert sum(gone.get("runs", 0) for gone in done) == 60
    assert past.runs() == past.runs("run_events", "run_id") == set()
    assert not [path for path in past.directory.rglob("*") if path.is_file()]


async def test_a_long_reader_of_the_log_delays_a_drop_and_nobody_else(
    past: Past, retain: Retention, database_url: str
) -> None:
    now = datetime.now(UTC)
    past.connection.execute("SELECT ensure_event_partition(%s)", (now,))
    past.add_run(OLD, OLD)
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM run_events")
        with pytest.raises(UnavailableError) as raised:
            await retain.forget()
        assert isinstance(raised.value.__cause__, psycopg.errors.LockNotAvailable)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            past.connection.execute("SELECT ensure_event_partition(%s)", (now + WEEK,))
        past.add_run(now, now)
    assert await retain.forget() == {"partitions": 1}


async def test_a_session_goes_when_nothing_was_said_for_long_with_all_that_it_has(
    past: Past, retain: Retention
) -> None:
    def add_session(updated: datetime, open_turns: int = 0) -> UUID:
        session: UUID = past.one("SELECT uuidv7()")
        past.connection.execute(
            "INSERT INTO sessions (id, org_id, crew, title, inputs, created_by, turns, open_turns,"
            " updated_at) VALUES (%s, %s, 'talker', '', '{}', '', 1, %s, %s)",
            (session, past.org_id, open_turns, updated),
        )
        past.connection.execute(
            "INSERT INTO session_messages VALUES (%s, 1, %s, 'user', 'hi', %s)",
            (session, past.org_id, session),
        )
        add_memory(str(session), updated)
        return session

    def add_memory(session: str, saved: datetime) -> None:
        past.connection.execute(
            "INSERT INTO memories VALUES (%s, %s, 'talker', uuidv7(), 'x', '{}', '', '', 0.5, %s)",
            (past.org_id, session, saved),
        )

    add_session(OLD)
    kept = {add_session(OLD, open_turns=1), add_session(datetime.now(UTC))}
    add_memory("a-label", OLD)
    add_memory("", OLD)
    gone = await retain.forget()
    assert (gone["sessions"], gone["memories"]) == (1, 1)
    rows = past.connection.execute("SELECT id FROM sessions").fetchall()
    assert {row[0] for row in rows} == kept
    rows = past.connection.execute("SELECT session_id FROM session_messages").fetchall()
    assert {row[0] for row in rows} == kept
    rows = past.connection.execute("SELECT session_id FROM memories").fetchall()
    assert {row[0] for row in rows} == {"", *map(str, kept)}
