"""Definitions that were read lately."""

from __future__ import annotations

from crewmesh_worker.crews.cache import DefinitionCache
from crewmesh_worker.crews.catalogue import Catalogue

HELLO = Catalogue.load().get("hello")


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = DefinitionCache(max_bytes=10)
    for name in ("a", "b"):
        cache.put(("o", name, "1"), HELLO, 5)
    assert cache.get(("o", "a", "1")) is HELLO
    cache.put(("o", "c", "1"), HELLO, 5)
    assert [cache.get(("o", name, "1")) is not None for name in ("a", "b", "c")] == [
        True,
        False,
        True,
    ]


def test_what_is_too_large_for_all_of_it_pushes_nothing_out() -> None:
    cache = DefinitionCache(max_bytes=10)
    cache.put(("o", "a", "1"), HELLO, 10)
    cache.put(("o", "b", "1"), HELLO, 11)
    assert cache.get(("o", "a", "1")) is HELLO
    assert cache.get(("o", "b", "1")) is None


def test_an_organisations_are_not_anothers() -> None:
    cache = DefinitionCache()
    cache.put(("o", "a", "1"), HELLO, 10)
    assert cache.get(("p", "a", "1")) is None
