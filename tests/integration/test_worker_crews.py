"""The crews that workers know, with a real store between them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crewmesh.common.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StateError,
)
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, crew_pb2, crew_store_pb2
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import CrewDefinition, parse_definition
from crewmesh_worker.crews.library import CrewLibrary
from crewmesh_worker.crews.shared import SharedCrews
from crewmesh_worker.crews.sources import CrewSource
from crewmesh_worker.crews.store import CrewStore
from crewmesh_worker.crews.uploaded import UploadedCrews
from crewmesh_worker.projects.catalogue import Projects
from crewmesh_worker.projects.project import Project
from tests.integration.conftest import StoreClient

UPLOADED, PROJECT = crew_pb2.CREW_SOURCE_UPLOADED, crew_pb2.CREW_SOURCE_PROJECT


def definition(name: str, saying: str = "Say.", **task: Any) -> CrewDefinition:
    return parse_definition(data(name, saying, **task))


def data(name: str, saying: str = "Say.", **task: Any) -> dict[str, Any]:
    given = {"name": "say", "agent": "a", "description": saying, "expected_output": "x", **task}
    return {
        "name": name,
        "description": "d",
        "version": "1.0",
        "crew": {"agents": {"a": {"role": "r", "goal": "g", "backstory": "b"}}, "tasks": [given]},
    }


async def worker(
    store: StoreClient, *crews: CrewDefinition, projects: Sequence[CrewSource] = ()
) -> CrewLibrary:
    """Return what a worker knows that comes with these crews."""
    crew_store = CrewStore(store.crews, store.signer)
    catalogue = Catalogue({crew.name: crew for crew in crews})
    uploaded = UploadedCrews(crew_store)
    library = CrewLibrary(SharedCrews(catalogue, crew_store), uploaded, projects)
    await library.publish()
    return library


async def put(library: CrewLibrary, who: Identity, name: str, saying: str = "Say.") -> str:
    content = json.dumps(data(name, saying)).encode()
    return (await library.put(name, content, agent_pb2.CREW_FORMAT_JSON, who)).crew.version


def saying_of(crew: Any) -> str:
    text: str = crew.definition.crew.tasks[0].description
    return text


@pytest.fixture
def other(store: StoreClient, database_url: str) -> Identity:
    """A developer of another organisation."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        rows = connection.execute("INSERT INTO orgs (name) VALUES ('o') RETURNING id").fetchall()
    return replace(store.org, org_id=str(rows[0][0]), role="developer")


async def test_a_worker_with_a_newer_crew_carries_out_a_run_of_the_older(
    store: StoreClient,
) -> None:
    older = await worker(store, definition("hello", "Say the old thing."))
    newer = await worker(store, definition("hello", "Say the new thing."))
    accepted = await older.get("hello", "", store.org)
    assert accepted.version != (await newer.get("hello", "", store.org)).version
    for library in (older, newer):
        pinned = await library.get_pinned("hello", accepted.version, store.org)
        assert saying_of(pinned) == "Say the old thing."
    # And the other way round: the older worker didn't know of the newer crew when it started.
    current = await newer.get("hello", "", store.org)
    assert saying_of(await older.get_pinned("hello", current.version, store.org)) == (
        "Say the new thing."
    )
    versions = await newer.list_versions("hello", 0, "", store.org)
    assert [v.version for v in versions.versions] == [current.version, accepted.version]
    assert {v.current_version for v in versions.versions} == {current.version}
    assert (
        "+      description: Say the new thing."
        in (await newer.diff("hello", "", "", store.org)).diff
    )


async def test_a_run_of_a_crew_that_is_no_longer_brought_is_carried_out(store: StoreClient) -> None:
    before = await (await worker(store, definition("gone"))).get("gone", "", store.org)
    after = await worker(store)
    with pytest.raises(NotFoundError):
        await after.get("gone", "", store.org)
    assert saying_of(await after.get_pinned("gone", before.version, store.org)) == "Say."


@pytest.mark.parametrize(
    ("name", "version"), [("hello", "1.0+nothing"), ("hello", "1"), ("x", "7")]
)
async def test_a_version_that_is_nowhere_is_told_as_such(
    store: StoreClient, name: str, version: str
) -> None:
    library = await worker(store, definition("hello"))
    with pytest.raises(StateError) as raised:
        await library.get_pinned(name, version, store.org)
    assert raised.value.reason == "CREW_VERSION_UNAVAILABLE"
    assert version in raised.value.message


async def test_a_definition_that_this_worker_cannot_read_is_told_as_such(
    store: StoreClient,
) -> None:
    library = await worker(store)
    await put(library, store.org, "fine")
    unreadable = data("future", "Say.", tools=["a_tool_of_the_future"])
    request = crew_store_pb2.PutStoredCrewRequest(
        name="future", definition_json=json.dumps(unreadable)
    )
    await store.crews.PutStoredCrew(request, metadata=store.person)
    with pytest.raises(StateError, match="a_tool_of_the_future"):
        await library.get_pinned("future", "1", store.org)
    with pytest.raises(InvalidInputError):
        await library.get("future", "", store.org)
    page = await library.list_page(0, "", store.org)
    assert [crew.name for crew in page.crews] == ["fine", "future"]
    assert "can't run it" in page.crews[1].description


async def test_what_one_worker_takes_the_next_call_to_another_finds(store: StoreClient) -> None:
    first, second = await worker(store), await worker(store)
    for saying in ("Say one.", "Say two."):
        await put(first, store.org, "mine", saying)
        assert saying_of(await second.get("mine", "", store.org)) == saying
        assert saying_of(await first.get("mine", "", store.org)) == saying
    await second.roll_back("mine", "1", store.org)
    assert saying_of(await first.get("mine", "", store.org)) == "Say one."
    await second.delete("mine", store.org)
    with pytest.raises(NotFoundError, match="there is no crew 'mine'"):
        await first.get("mine", "", store.org)
    assert saying_of(await first.get_pinned("mine", "2", store.org)) == "Say two."


async def test_names_that_come_with_the_workers_are_taken(store: StoreClient) -> None:
    library = await worker(store, definition("hello"))
    with pytest.raises(ConflictError, match="another name"):
        await put(library, store.org, "hello")
    with pytest.raises(StateError):
        await library.delete("hello", store.org)
    with pytest.raises(StateError):
        await library.roll_back("hello", "1", store.org)


async def test_an_organisation_keeps_its_crew_when_workers_begin_to_bring_one_of_its_name(
    store: StoreClient, other: Identity
) -> None:
    await put(await worker(store), store.org, "assistant", "Say mine.")
    library = await worker(store, definition("assistant", "Say ours."))
    assert saying_of(await library.get("assistant", "", store.org)) == "Say mine."
    assert saying_of(await library.get("assistant", "", other)) == "Say ours."
    sources = {
        identity.org_id: [crew.source for crew in (await library.list_page(0, "", identity)).crews]
        for identity in (store.org, other)
    }
    assert sources == {
        store.org.org_id: [crew_pb2.CREW_SOURCE_UPLOADED],
        other.org_id: [crew_pb2.CREW_SOURCE_BUILT_IN],
    }
    assert await put(library, store.org, "assistant", "Say mine again.") == "2"
    with pytest.raises(ConflictError):
        await put(library, other, "assistant")
    await library.delete("assistant", store.org)
    assert saying_of(await library.get("assistant", "", store.org)) == "Say ours."


def projects_named(directory: Path, *names: str) -> Projects:
    entry = {"kind": "crew", "definition": "", "script": "main:run"}
    return Projects(
        directory,
        [
            Project(name, "0+0123456789ab", "crew", "A project.", *[directory] * 3, entry)
            for name in names
        ],
    )


async def test_a_project_goes_before_a_crew_of_the_workers_and_after_an_organisations_own(
    store: StoreClient, other: Identity, tmp_path: Path
) -> None:
    await put(await worker(store), store.org, "mine", "Say mine.")
    projects = projects_named(tmp_path, "hello", "mine")
    library = await worker(store, definition("hello"), definition("bye"), projects=[projects])
    assert saying_of(await library.get("mine", "", store.org)) == "Say mine."
    assert isinstance((await library.get("mine", "", other)).runnable, Project)
    assert isinstance((await library.get("hello", "", store.org)).runnable, Project)
    for identity, mine in ((store.org, UPLOADED), (other, PROJECT)):
        listed = (await library.list_page(0, "", identity)).crews
        assert [(crew.name, crew.source) for crew in listed] == [
            ("bye", crew_pb2.CREW_SOURCE_BUILT_IN),
            ("hello", PROJECT),
            ("mine", mine),
        ]
    # A run of what it hides goes on with that.
    hidden = (await (await worker(store, definition("hello"))).get("hello", "", other)).version
    assert saying_of(await library.get_pinned("hello", hidden, other)) == "Say."


async def test_a_projects_name_is_taken_but_for_whom_had_it_before(
    store: StoreClient, other: Identity, tmp_path: Path
) -> None:
    await put(await worker(store), store.org, "mine")
    library = await worker(store, projects=[projects_named(tmp_path, "mine")])
    assert await put(library, store.org, "mine", "Say more.") == "2"
    await library.roll_back("mine", "1", store.org)
    with pytest.raises(ConflictError, match="another name"):
        await put(library, other, "mine")
    with pytest.raises(StateError):
        await library.delete("mine", other)
    with pytest.raises(StateError, match="compare its files"):
        await library.diff("mine", "0+0123456789ab", "0+0123456789ab", other)
    await library.delete("mine", store.org)
    assert isinstance((await library.get("mine", "", store.org)).runnable, Project)


async def test_a_list_is_in_order_over_sources_and_pages(store: StoreClient) -> None:
    library = await worker(store, *(definition(name) for name in ("b", "d", "f")))
    for name in ("a", "c", "e", "g"):
        await put(library, store.org, name)
    for size in (1, 2, 3, 7, 50):
        found: list[str] = []
        token = ""
        while True:
            page = await library.list_page(size, token, store.org)
            assert len(page.crews) <= size
            found += [crew.name for crew in page.crews]
            token = page.next_page_token
            if not token:
                break
        assert found == list("abcdefg"), size


async def test_a_comparison_without_an_earlier_version_asks_for_both(store: StoreClient) -> None:
    library = await worker(store)
    await put(library, store.org, "mine")
    with pytest.raises(InvalidInputError, match="no version before 1"):
        await library.diff("mine", "", "", store.org)
    assert (await library.diff("mine", "1", "1", store.org)).diff == ""
    with pytest.raises(NotFoundError, match="no version '9'"):
        await library.diff("mine", "9", "", store.org)
