"""What is found of a log that was tampered with."""

from __future__ import annotations

import json

import pytest

from crewmesh.common.audit_chain import NOTHING, ChainVerifier, Entry, hash_after

COUNT = 5


def chain(count: int = COUNT) -> list[Entry]:
    entries, before = [], NOTHING
    for seq in range(1, count + 1):
        text = json.dumps({"seq": seq, "action": "user.changed"})
        before = hash_after(before, text)
        entries.append(Entry(seq, text, before))
    return entries


def changed(entry: Entry) -> Entry:
    return Entry(entry.seq, entry.text.replace("user", "nobody"), entry.hash)


def forged(before: bytes, entry: Entry) -> Entry:
    """Changed by somebody who knows how the hash is made."""
    text = changed(entry).text
    return Entry(entry.seq, text, hash_after(before, text))


def faulty_numbers(
    entries: list[Entry], head: Entry | None, noted: tuple[int, bytes] | None = None
) -> list[int]:
    verifier = ChainVerifier()
    verifier.check(entries)
    verifier.finish(head, noted)
    return [fault.seq for fault in verifier.faults]


WHOLE = chain()
END = WHOLE[-1]


@pytest.mark.parametrize(
    ("what", "entries", "faulty"),
    [
        ("whole", WHOLE, []),
        ("the first is missing", WHOLE[1:], [1]),
        ("one is missing", WHOLE[:2] + WHOLE[3:], [3]),
        ("two are missing", WHOLE[:1] + WHOLE[3:], [2]),
        ("the last is missing", WHOLE[:-1], [5]),
        ("all are missing", [], [1]),
        ("one is changed", [*WHOLE[:2], changed(WHOLE[2]), *WHOLE[3:]], [3]),
        ("the last is changed", [*WHOLE[:4], changed(WHOLE[4])], [5]),
        (
            "one is changed with its hash",
            [*WHOLE[:2], forged(WHOLE[1].hash, WHOLE[2]), *WHOLE[3:]],
            [4],
        ),
        ("the last is changed with its hash", [*WHOLE[:4], forged(WHOLE[3].hash, WHOLE[4])], [5]),
        ("one has another's number", [*WHOLE[:2], Entry(3, WHOLE[3].text, WHOLE[2].hash)], [3, 4]),
        ("one is there twice", [*WHOLE[:3], *WHOLE[2:]], [3]),
        ("one is no JSON", [Entry(1, "x", hash_after(NOTHING, "x"))], [1, 2]),
    ],
)
def test_every_fault_is_found_where_it_is(
    what: str, entries: list[Entry], faulty: list[int]
) -> None:
    assert faulty_numbers(entries, END) == faulty, what


def test_an_empty_log_is_whole() -> None:
    assert faulty_numbers([], None) == []


def test_a_log_that_was_made_shorter_with_its_end_shows_by_what_was_noted() -> None:
    assert faulty_numbers(WHOLE[:3], WHOLE[2]) == []
    assert faulty_numbers(WHOLE[:3], WHOLE[2], (END.seq, END.hash)) == [4]
