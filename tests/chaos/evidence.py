"""What the oracle judges: the store's tables, clients' records, the ledger, what is left running."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.chaos import ledger
from tests.chaos.client import Client
from tests.chaos.crews.names import KICKOFF_MARK
from tests.chaos.ledger import Entry

Row = dict[str, Any]

_RUNS = "SELECT * FROM runs ORDER BY id"
_EVENTS = """
    SELECT run_id, seq, at, attempt, type, task, agent, payload FROM run_events
    ORDER BY run_id, seq
"""
# The store forgets the effects of runs that have ended; this copy doesn't.
_COPY_EFFECTS = """
    CREATE TABLE chaos_effects (run_id uuid, task integer, made_at timestamptz);
    CREATE FUNCTION copy_effect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO chaos_effects VALUES (NEW.run_id, split_part(NEW.key, '/', 1)::int, NEW.made_at);
        RETURN NULL;
    END $$;
    CREATE TRIGGER copy_effect AFTER INSERT ON effects FOR EACH ROW EXECUTE FUNCTION copy_effect()
"""
_EFFECTS = "SELECT * FROM chaos_effects"
_ARTIFACTS = "SELECT id, run_id, name, size_bytes, encode(sha256, 'hex') AS sha256 FROM artifacts"
_KEYS = "SELECT key, run_id FROM idempotency_keys"
# Each renewal of a worker's leases tells how many slots it has free, so two of them after all
# runs' end tell the truth about that.
_SEE_WORKERS = "SELECT id, last_seen_at FROM workers ORDER BY last_seen_at DESC LIMIT %s"
_WORKERS = "SELECT id, slots, free_slots FROM workers ORDER BY last_seen_at DESC LIMIT %s"
_REST_SECONDS = 120.0


@dataclass
class Evidence:
    """All of it, for one mesh that has come to rest. Runs and their events are by run id."""

    clients: list[Client]
    runs: dict[str, Row]
    events: dict[str, list[Row]]
    keys: list[Row]
    workers: list[Row]
    effects: list[Row]
    # By id.
    artifacts: dict[str, Row]
    ledger: list[Entry]
    # Processes that shouldn't be, and services that didn't end when asked to.
    leftovers: list[str] = field(default_factory=list)

    def attempts_of_kickoffs(self) -> dict[str, int]:
        """Return of which attempt each kickoff was, as far as its events were stored."""
        attempts = {}
        for event in self.all_events("llm.chunk"):
            for kickoff in re.findall(rf"{KICKOFF_MARK}(\w+)", event["payload"]["text"]):
                attempts[kickoff] = event["attempt"]
        return attempts

    def entries(self, what: str) -> list[tuple[str, Entry]]:
        """Return the ledger's entries about a thing, each with its run's id."""
        run_of_key = {run["inputs"]["key"]: run_id for run_id, run in self.runs.items()}
        return [(run_of_key.get(e.key, ""), e) for e in self.ledger if e.what == what]

    def all_events(self, event_type: str) -> list[Row]:
        """Return every run's events of a type."""
        return [e for events in self.events.values() for e in events if e["type"] == event_type]


# What is wrong: a run's id ("" where it is about no single one) and words.
Fault = tuple[str, str]
# Yields a fault, or None for a thing that was looked at and is as it should be.
Rule = Callable[[Evidence], Iterator[Fault | None]]


def copy_effects(database_url: str) -> None:
    """Have every side effect that is kept from now on be known to the oracle for good."""
    with psycopg.connect(database_url) as connection:
        connection.execute(_COPY_EFFECTS)


async def rest(database_url: str, workers: int) -> None:
    """Return when every worker has renewed its leases twice."""
    seen: dict[str, set[Any]] = defaultdict(set)
    with psycopg.connect(database_url, autocommit=True) as connection:
        async with asyncio.timeout(_REST_SECONDS):
            while sum(len(times) > 2 for times in seen.values()) < workers:
                for worker, at in connection.execute(_SEE_WORKERS, (workers,)):
                    seen[worker].add(at)
                await asyncio.sleep(0.1)


def collect(database_url: str, clients: list[Client], ledger_file: Path, workers: int) -> Evidence:
    """Read the tables and the ledger."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        runs = {str(row["id"]): row for row in connection.execute(_RUNS)}
        events: dict[str, list[Row]] = defaultdict(list)
        for row in connection.execute(_EVENTS):
            events[str(row["run_id"])].append(row)
        effects = connection.execute(_EFFECTS).fetchall()
        artifacts = {str(row["id"]): row for row in connection.execute(_ARTIFACTS)}
        keys = connection.execute(_KEYS).fetchall()
        fleet = connection.execute(_WORKERS, (workers,)).fetchall()
    entries = ledger.read(ledger_file)
    return Evidence(clients, runs, dict(events), keys, fleet, effects, artifacts, entries)


def log_of(events: list[Row]) -> str:
    """Return a run's log for a report, a line an event, without what its agents said."""
    told = (event for event in events if event["type"] != "llm.chunk")
    return "\n".join(
        f"    {e['seq']:4} {e['at']:%H:%M:%S.%f} {e['attempt']} {e['type']} {as_text(e['payload'])}"
        for e in told
    )


def as_text(value: Any) -> str:
    """Return a value for a report, not too long."""
    return json.dumps(value, default=str)[:200]
