"""Finding runs by what they hold, in a real Postgres."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from crewmesh.v1 import agent_pb2, run_pb2
from tests.integration.conftest import StoreClient, append, ending, event


async def find(store: StoreClient, text: str, **filters: Any) -> list[str]:
    request = agent_pb2.ListRunsRequest(text=text, **filters)
    return [run.id for run in (await store.runs.ListRuns(request, metadata=store.person)).runs]


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
    listed = await store.runs.ListRuns(request, metadata=store.signer.metadata(stranger))
    assert not listed.runs
