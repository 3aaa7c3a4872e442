"""What watchers in one replica are given, and from where they are behind."""

from __future__ import annotations

import pytest

from crewmesh.v1 import run_pb2
from crewmesh_store.runs.hub import EventHub


def events(*numbers: int) -> list[run_pb2.RunEvent]:
    return [run_pb2.RunEvent(seq=number) for number in numbers]


async def test_a_watcher_gets_batches_in_order() -> None:
    hub = EventHub()
    with hub.subscribe("run") as watcher:
        hub.publish("run", events(1, 2))
        hub.publish("other", events(7))
        hub.publish("run", events(3))
        got = [await watcher.next(), await watcher.next()]
    assert [[event.seq for event in batch] for batch in got] == [[1, 2], [3]]


async def test_one_that_does_not_keep_up_loses_its_queue_and_reads_history() -> None:
    hub = EventHub()
    big = [run_pb2.RunEvent(seq=number, payload_json="x" * 700_000) for number in (1, 2, 3)]
    with hub.subscribe("run") as slow:
        for event in big:
            hub.publish("run", [event])
        assert hub.head("run") is None
        assert await slow.next() == ()
        slow.knows(3)
        assert hub.head("run") == 3
        hub.publish("run", events(4))
        assert [event.seq for event in await slow.next()] == [4]


@pytest.mark.parametrize(
    ("known", "head"),
    [([], None), ([5], 5), ([5, 3], 3), ([5, None], None)],
    ids=["nobody", "one", "the-one-behind", "one-that-has-read-nothing"],
)
async def test_a_runs_head_is_what_all_its_watchers_know(
    known: list[int | None], head: int | None
) -> None:
    hub = EventHub()
    watching = [hub.subscribe("run") for _ in known]
    for watcher, seq in zip(watching, known, strict=True):
        subscription = watcher.__enter__()
        if seq is not None:
            subscription.knows(seq)
    assert hub.is_watched("run") == bool(known)
    assert hub.watched == (["run"] if known else [])
    assert hub.head("run") == head
    for watcher in watching:
        watcher.__exit__(None, None, None)
    assert not hub.is_watched("run")
