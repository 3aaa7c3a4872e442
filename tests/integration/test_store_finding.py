"""Finding runs by what they hold, in a real Postgres."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, run_pb2, run_store_pb2
from crewmesh_store.runs.repository import SQL
from tests.integration.conftest import StoreClient, append, ending, event

FILL = """
    INSERT INTO runs (id, org_id, crew, crew_version, status, inputs, attempt, max_attempts,
        priority, timeout_seconds, created_by, last_seq)
    SELECT uuidv7(), %(org_id)s, 'hello', '1', 'succeeded', '{}', 1, 1, 0, 60, 'u', 1
    FROM generate_series(1, 5000)
"""


async def find(
    store: StoreClient, text: str = "", asking: Identity | None = None, **filters: Any
) -> list[str]:
    request = agent_pb2.ListRunsRequest(text=text, **filters)
    metadata = store.signer.metadata(asking or store.org)
    return [run.id for run in (await store.runs.ListRuns(request, metadata=metadata)).runs]


async def test_runs_are_found_by_the_words_they_hold(store: StoreClient) -> None:
    asked = (await store.create(inputs_json='{"question": "Which month is the wettest?"}')).run.id
    other = (await store.create(crew="data-analyst", inputs_json='{"n": 642.5}')).run.id
    assert await find(store, "wett") == [asked]
    assert await find(store, "WETTEST month") == [asked]
    assert await find(store, "wettest year") == []
    assert await find(store, "data-analyst") == [other]
    assert await find(store, "642.5") == [other]
    assert await find(store, "month", crew="data-analyst") == []
    assert await find(store, "'\\' | !") == []


async def test_a_run_is_found_by_its_answer_and_by_its_error(store: StoreClient) -> None:
    done = (await store.create(worker_id="w1")).lease
    await store.append(ending(done, 3))
    failed = (await store.create(worker_id="w1")).lease
    error = run_pb2.RunError(code="crew_error", message="the archipelago is closed")
    last = append(failed, 3, event("run.failed"), status=run_pb2.RUN_STATUS_FAILED, error=error)
    assert await store.append(last) == ["STORED"]
    assert await find(store, (await store.get(done.run.id)).output) == [done.run.id]
    assert await find(store, "archipel") == [failed.run.id]


async def test_a_run_is_found_by_either_end_of_its_id(store: StoreClient) -> None:
    first, second = [(await store.create()).run.id for _ in range(2)]
    assert await find(store, first) == [first]
    assert await find(store, first[24:32]) == [first]
    assert set(await find(store, first[:8])) == {first, second}


async def test_found_runs_come_in_pages_and_are_the_organisations_own(store: StoreClient) -> None:
    ids = [(await store.create(inputs_json='{"topic": "rivers"}')).run.id for _ in range(3)]
    request = agent_pb2.ListRunsRequest(text="river", page_size=2)
    page = await store.runs.ListRuns(request, metadata=store.person)
    assert [run.id for run in page.runs] == ids[:0:-1]
    assert await find(store, "river", page_token=page.next_page_token) == ids[:1]
    stranger = replace(store.org, org_id=str(uuid.uuid4()))
    assert not await find(store, "river", asking=stranger, page_size=2)


async def test_runs_are_found_by_who_started_them(store: StoreClient) -> None:
    colleague = replace(store.org, user_id=str(uuid.uuid4()))
    stranger = replace(colleague, org_id=str(uuid.uuid4()))
    mine = [(await store.create()).run.id for _ in range(2)]
    request = run_store_pb2.CreateRunRequest(spec=agent_pb2.RunSpec(crew="hello", inputs_json="{}"))
    created = await store.runs.CreateRun(request, metadata=store.signer.metadata(colleague))
    assert await find(store, created_by="me") == mine[::-1]
    assert await find(store, asking=colleague, created_by="me") == [created.run.id]
    assert await find(store, created_by=colleague.user_id) == [created.run.id]
    assert await find(store, asking=stranger, created_by="me") == []
    assert await find(store, "hello", created_by="me") == mine[::-1]


@pytest.mark.parametrize("only", [{"crew": "rare"}, {"created_by": "somebody"}])
async def test_few_runs_are_not_looked_for_among_all(
    store: StoreClient, database_url: str, only: dict[str, str]
) -> None:
    few = [(await store.create(crew="rare")).run.id for _ in range(3)]
    filters = dict.fromkeys(("before_id", "status", "crew", "session_id", "created_by",
                             "created_after", "created_before", "webhook"))  # fmt: skip
    asked = {**filters, **only, "org_id": store.org.org_id, "limit": 50}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.prepare_threshold = 1  # as the store has it
        connection.execute(FILL, {"org_id": store.org.org_id})
        connection.execute("UPDATE runs SET created_by = 'somebody' WHERE crew = 'rare'")
        connection.execute("ANALYZE runs")
        before = read_rows(connection)
        # More often than it takes Postgres to plan the statement once for all filters.
        for _ in range(12):
            listed = connection.execute(SQL["list_runs"], asked).fetchall()
            assert [str(row[0]) for row in listed] == few[::-1]
        assert read_rows(connection) - before < 100


def read_rows(connection: psycopg.Connection[Any]) -> int:
    """Return how many rows of runs were taken from the table, or by an index, up to now."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    (rows,) = connection.execute(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'runs'"
    ).fetchone() or (0,)
    return int(rows)


async def test_a_crew_with_few_runs_is_not_looked_for_among_all(
    store: StoreClient, database_url: str
) -> None:
    rare = [(await store.create(crew="rare")).run.id for _ in range(3)]
    asked = {"crews": ["rare", "hello"], "org_id": store.org.org_id, "limit": 20}
    with psycopg.connect(
        database_url, autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as connection:
        connection.execute(FILL, {"org_id": store.org.org_id})
        connection.execute("ANALYZE runs")
        explained = connection.execute("EXPLAIN ANALYZE " + SQL["list_runs_of_crews"], asked)
        plan = "\n".join(line for (line,) in explained)
    assert "runs_by_crew" in plan, plan
    # All that is read is shown: 3 of the one, 20 of the other.
    assert "Rows Removed by Filter" not in plan, plan
    request = run_store_pb2.BatchListRunsRequest(crews=["rare"], page_size=20)
    answer = await store.runs.BatchListRuns(request, metadata=store.person)
    assert [run.id for run in answer.runs] == rare[::-1]
