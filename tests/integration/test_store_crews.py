"""Crews' definitions in the store: versions, the current one, whose they are."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from crewmesh.common.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    StateError,
)
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.v1 import crew_pb2, crew_store_pb2
from crewmesh_store.crews import repository
from tests.integration.conftest import StoreClient


async def put(
    store: StoreClient, content: Any, name: str = "mine", as_: Any = None
) -> crew_store_pb2.PutStoredCrewResponse:
    request = crew_store_pb2.PutStoredCrewRequest(name=name, definition_json=json.dumps(content))
    with rpc_errors():
        return await store.crews.PutStoredCrew(request, metadata=as_ or store.person)


async def get(
    store: StoreClient, version: str = "", as_: Any = None, **fields: Any
) -> crew_store_pb2.StoredCrew:
    request = crew_store_pb2.GetStoredCrewRequest(**{"name": "mine", "version": version, **fields})
    with rpc_errors():
        return (await store.crews.GetStoredCrew(request, metadata=as_ or store.person)).crew


async def delete(store: StoreClient, name: str = "mine", as_: Any = None) -> None:
    request = crew_store_pb2.DeleteStoredCrewRequest(name=name)
    with rpc_errors():
        await store.crews.DeleteStoredCrew(request, metadata=as_ or store.person)


async def roll_back(store: StoreClient, version: str) -> crew_store_pb2.StoredCrew:
    request = crew_store_pb2.SetCurrentVersionRequest(name="mine", version=version)
    with rpc_errors():
        return (await store.crews.SetCurrentVersion(request, metadata=store.person)).crew


async def versions(store: StoreClient, **fields: Any) -> list[str]:
    """Return the versions, newest first, read in pages of two."""
    found: list[str] = []
    token = ""
    while True:
        request = crew_store_pb2.ListStoredVersionsRequest(
            **{"name": "mine", "page_size": 2, "page_token": token, **fields}
        )
        with rpc_errors():
            page = await store.crews.ListStoredVersions(request, metadata=store.person)
        found += [version.version for version in page.versions]
        token = page.next_page_token
        if not token:
            return found


def shared(name: str, version: str, content: Any) -> crew_store_pb2.StoredCrew:
    return crew_store_pb2.StoredCrew(
        name=name,
        version=version,
        definition_json=json.dumps(content),
        source=crew_pb2.CREW_SOURCE_BUILT_IN,
    )


async def publish(
    store: StoreClient, *crews: crew_store_pb2.StoredCrew, as_: Any = None
) -> crew_store_pb2.PublishCrewsResponse:
    request = crew_store_pb2.PublishCrewsRequest(crews=crews)
    with rpc_errors():
        return await store.crews.PublishCrews(request, metadata=as_ or store.service)


@pytest.fixture
def other_org(store: StoreClient, database_url: str) -> Any:
    """A developer of another organisation."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("INSERT INTO orgs (name) VALUES ('other') RETURNING id")
        org_id = str(row.fetchall()[0][0])
    return store.signer.metadata(replace(store.org, org_id=org_id, role="developer"))


async def test_versions_are_numbered_and_the_newest_is_current(store: StoreClient) -> None:
    first = await put(store, {"a": 1})
    assert (first.created, first.changed, first.crew.version) == (True, True, "1")
    second = await put(store, {"a": 2})
    assert (second.created, second.changed, second.crew.version) == (False, True, "2")
    crew = await get(store)
    assert (crew.version, crew.current_version, crew.definition_json) == ("2", "2", '{"a": 2}')
    assert crew.source == crew_pb2.CREW_SOURCE_UPLOADED
    assert crew.created_by == store.org.user_id
    assert (await get(store, "1")).definition_json == '{"a": 1}'
    assert await versions(store) == ["2", "1"]


async def test_the_current_content_again_makes_no_version(store: StoreClient) -> None:
    first = await put(store, {"a": 1})
    again = await put(store, {"a": 1})
    assert (again.created, again.changed) == (False, False)
    assert again.crew == first.crew
    assert await versions(store) == ["1"]


async def test_content_of_an_older_version_makes_a_new_one(store: StoreClient) -> None:
    for content in (1, 2, 1):
        await put(store, {"a": content})
    assert await versions(store) == ["3", "2", "1"]


async def test_going_back_changes_the_current_version_and_the_next_is_still_new(
    store: StoreClient,
) -> None:
    for content in (1, 2):
        await put(store, {"a": content})
    crew = await roll_back(store, "1")
    assert (crew.version, crew.current_version, crew.definition_json) == ("1", "1", '{"a": 1}')
    assert (await get(store)).version == "1"
    assert not (await put(store, {"a": 1})).changed
    assert (await put(store, {"a": 3})).crew.version == "3"


@pytest.mark.parametrize("version", ["2", "0", "01", "-1", "one", "1.0", "", "9" * 30])
async def test_going_back_to_what_is_no_version_is_refused(
    store: StoreClient, version: str
) -> None:
    await put(store, {"a": 1})
    with pytest.raises(NotFoundError):
        await roll_back(store, version)
    assert (await get(store)).version == "1"


async def test_a_deleted_crew_is_gone_but_for_runs_that_are_pinned_to_it(
    store: StoreClient,
) -> None:
    await put(store, {"a": 1})
    await delete(store)
    for version in ("", "1"):
        with pytest.raises(NotFoundError):
            await get(store, version)
    with pytest.raises(NotFoundError):
        await versions(store)
    with pytest.raises(NotFoundError):
        await delete(store)
    with pytest.raises(NotFoundError):
        await roll_back(store, "1")
    assert (await get(store, "1", pinned=True)).definition_json == '{"a": 1}'


async def test_a_version_number_is_never_given_twice(store: StoreClient) -> None:
    await put(store, {"a": 1})
    await delete(store)
    again = await put(store, {"a": 1})
    assert (again.created, again.changed, again.crew.version) == (True, True, "2")


async def test_a_known_version_is_not_sent_again(store: StoreClient) -> None:
    await put(store, {"a": 1})
    crew = await get(store, known_version="1")
    assert (crew.version, crew.definition_json) == ("1", "")
    await put(store, {"a": 2})
    assert (await get(store, known_version="1")).definition_json == '{"a": 2}'


async def test_puts_at_the_same_time_make_a_version_each(store: StoreClient) -> None:
    made = await asyncio.gather(*(put(store, {"a": n}) for n in range(20)))
    assert sorted(int(one.crew.version) for one in made) == list(range(1, 21))
    assert sum(one.created for one in made) == 1
    assert len({(await get(store, one.crew.version)).definition_json for one in made}) == 20


async def test_another_organisation_sees_nothing_of_it(store: StoreClient, other_org: Any) -> None:
    await put(store, {"a": 1})
    for fields in ({}, {"version": "1"}, {"version": "1", "pinned": True}):
        with pytest.raises(NotFoundError):
            await get(store, as_=other_org, **fields)
    with pytest.raises(NotFoundError):
        await delete(store, as_=other_org)
    theirs = await put(store, {"b": 1}, as_=other_org)
    assert theirs.created
    assert (await get(store)).definition_json == '{"a": 1}'


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_who_may_not_develop_may_not_write(store: StoreClient, role: str) -> None:
    await put(store, {"a": 1})
    as_role = store.signer.metadata(replace(store.org, role=role))
    with pytest.raises(ForbiddenError):
        await put(store, {"a": 2}, as_=as_role)
    with pytest.raises(ForbiddenError):
        await delete(store, as_=as_role)
    assert (await get(store, as_=as_role)).version == "1"


@pytest.mark.parametrize(
    ("name", "definition"),
    [("Not A Name", "{}"), ("", "{}"), ("a" * 64, "{}"), ("a", "[]"), ("a", "{"), ("a", "1")],
)
async def test_what_is_no_crew_is_refused(store: StoreClient, name: str, definition: str) -> None:
    request = crew_store_pb2.PutStoredCrewRequest(name=name, definition_json=definition)
    with pytest.raises(InvalidInputError), rpc_errors():
        await store.crews.PutStoredCrew(request, metadata=store.person)


async def test_crews_are_listed_by_name_in_pages(store: StoreClient, other_org: Any) -> None:
    for name in ("c", "a", "d", "b", "e"):
        await put(store, {"name": name}, name)
    await delete(store, "d")
    await put(store, {}, "z", as_=other_org)
    found: list[str] = []
    more = True
    while more:
        request = crew_store_pb2.ListStoredCrewsRequest(
            page_size=2, after_name=found[-1] if found else ""
        )
        page = await store.crews.ListStoredCrews(request, metadata=store.person)
        assert all(json.loads(crew.definition_json)["name"] == crew.name for crew in page.crews)
        found += [crew.name for crew in page.crews]
        more = page.more
    assert found == ["a", "b", "c", "e"]


async def test_a_page_of_large_crews_is_short(store: StoreClient) -> None:
    for name in ("a", "b", "c", "d"):
        await put(store, {"text": "x" * 1_900_000}, name)
    request = crew_store_pb2.ListStoredCrewsRequest()
    page = await store.crews.ListStoredCrews(request, metadata=store.person)
    assert ([crew.name for crew in page.crews], page.more) == (["a", "b"], True)


async def test_too_many_crews_or_versions_are_refused(
    store: StoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "MAX_CREWS", 2)
    monkeypatch.setattr(repository, "MAX_VERSIONS", 2)
    for name in ("a", "b"):
        await put(store, {"n": 1}, name)
    with pytest.raises(StateError, match="delete a crew"):
        await put(store, {"n": 1}, "c")
    await put(store, {"n": 2}, "a")
    with pytest.raises(StateError):
        await put(store, {"n": 3}, "a")
    assert not (await put(store, {"n": 2}, "a")).changed
    await delete(store, "b")
    await put(store, {"n": 1}, "c")


async def test_crews_of_workers_are_published_once_and_everybodys(
    store: StoreClient, other_org: Any
) -> None:
    hello = shared("hello", "1.0.0+0123456789ab", {"v": 1})
    first = await publish(store, hello)
    again = await publish(store, hello, shared("hello", "1.1.0+ba9876543210", {"v": 2}))
    assert first.crews[0] == again.crews[0]
    assert first.crews[0].HasField("created_at")
    for who in (store.person, other_org):
        crew = await get(store, "1.0.0+0123456789ab", name="hello", as_=who)
        assert crew.definition_json == '{"v": 1}'
        assert crew.source == crew_pb2.CREW_SOURCE_BUILT_IN
    assert await versions(store, name="hello", shared=True) == [
        "1.1.0+ba9876543210",
        "1.0.0+0123456789ab",
    ]


async def test_a_published_version_with_other_content_is_a_conflict(store: StoreClient) -> None:
    await publish(store, shared("hello", "1.0.0+0123456789ab", {"v": 1}))
    with pytest.raises(ConflictError):
        await publish(store, shared("hello", "1.0.0+0123456789ab", {"v": 2}))


async def test_who_publishes_learns_whose_own_crews_have_these_names(store: StoreClient) -> None:
    await put(store, {"a": 1}, "assistant")
    await put(store, {"a": 1}, "gone")
    await delete(store, "gone")
    response = await publish(store, *(shared(n, "1+0", {}) for n in ("assistant", "gone", "new")))
    assert [(owner.org_id, owner.name) for owner in response.owners] == [
        (store.org.org_id, "assistant")
    ]


async def test_only_the_mesh_publishes_and_never_a_number(store: StoreClient) -> None:
    with pytest.raises(ForbiddenError):
        await publish(store, shared("hello", "1.0.0+0", {}), as_=store.person)
    with pytest.raises(InvalidInputError):
        await publish(store, shared("hello", "7", {}))


async def test_a_cursor_that_is_none_is_refused(store: StoreClient) -> None:
    await put(store, {"a": 1})
    for of_shared in (True, False):
        with pytest.raises(InvalidInputError, match="cursor"):
            await versions(store, page_token="x", shared=of_shared)


async def test_a_version_cannot_be_changed_even_by_sql(
    store: StoreClient, database_url: str
) -> None:
    await put(store, {"a": 1})
    await publish(store, shared("hello", "1.0.0+0", {}))
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table in ("crew_versions", "shared_crew_versions"):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(f"UPDATE {table} SET definition = '{{}}'")
