"""The load benchmark finds what it says isn't there."""

from __future__ import annotations

import pytest

from tests.benchmarks.load_clients import Log, faults_of

LOG: Log = [(1, "run.queued"), (2, "run.started"), (3, "run.succeeded")]


def test_a_whole_log_that_all_watchers_saw_has_no_fault() -> None:
    assert faults_of(LOG, [LOG, LOG]) == []


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        ([*LOG[:1], *LOG[2:]], "gaps"),
        (LOG[:2], "doesn't end once"),
        ([*LOG, (4, "run.failed")], "doesn't end once"),
        ([*LOG[:1], (2, "run.succeeded"), (3, "llm.chunk")], "doesn't end once"),
    ],
)
def test_a_log_with_a_gap_or_without_its_one_end_is_a_fault(stored: Log, fault: str) -> None:
    assert [fault in found for found in faults_of(stored, [stored])] == [True]


@pytest.mark.parametrize("seen", [LOG[:2], LOG[1:], [*LOG[:2], *LOG[1:]]])
def test_a_watcher_that_missed_or_saw_twice_is_a_fault(seen: Log) -> None:
    assert len(faults_of(LOG, [LOG, seen])) == 1
