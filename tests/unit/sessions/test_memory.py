from __future__ import annotations

import uuid

import pytest

from crewmesh.v1.memory_pb2 import Memory, MemoryChanges
from crewmesh_worker.sessions.memory import checked, merged

A, B = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def kept(record_id: str, content: str = "x", **fields: object) -> Memory:
    return Memory(id=record_id, content=content, record_json="{}", **fields)  # type: ignore[arg-type]


def test_changes_one_after_another_become_one() -> None:
    changes = [
        MemoryChanges(saved=[kept(A, "first"), kept(B)]),
        MemoryChanges(saved=[kept(A, "second")], deleted=[B]),
    ]
    assert merged(changes) == MemoryChanges(saved=[kept(A, "second")], deleted=[B])
    assert merged([]) is None
    again = [MemoryChanges(deleted=[A]), MemoryChanges(saved=[kept(A)])]
    assert merged(again) == MemoryChanges(saved=[kept(A)])


@pytest.mark.parametrize(
    "bad",
    [
        kept("not an id"),
        kept(A, "with \x00"),
        kept(A, "x" * 9_000),
        Memory(id=A, record_json="[]"),
        Memory(id=A, record_json='{"a": "\\u0000"}'),
        Memory(id=A, record_json="{"),
        kept(A, importance=2.0),
        kept(A, importance=float("nan")),
        kept(A, embedding=b"x" * 5_000),
    ],
)
def test_what_a_runner_may_not_store_is_left_out(bad: Memory) -> None:
    assert checked(MemoryChanges(saved=[bad, kept(B)])).saved == [kept(B)]
