"""The oracle finds what it is there for: each rule, broken once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.crews.names import KICKOFF_MARK, answer_of
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import Entry
from tests.chaos.load import Client
from tests.chaos.oracle import judge

RUN, KEY = "01a20783-0000-7000-8000-000000000000", "run-0"
BEGIN = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def event(seq: int, event_type: str, attempt: int = 1, **payload: Any) -> dict[str, Any]:
    return {
        "run_id": RUN,
        "seq": seq,
        "at": BEGIN + timedelta(seconds=seq),
        "attempt": attempt,
        "type": event_type,
        "task": "",
        "agent": "",
        "payload": payload,
    }


def as_seen(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "at": row["at"].isoformat(), "task": None, "agent": None}


@pytest.fixture
def evidence() -> Evidence:
    """A run of one task, which paid, ended well in its first attempt."""
    events = [
        event(1, "run.queued", 0),
        event(2, "run.started"),
        event(3, "llm.chunk", text=f"{KICKOFF_MARK}k1 said"),
        event(4, "task.completed", index=0, output=answer_of(KEY, 0)),
        event(5, "run.succeeded"),
    ]
    run = {
        "id": RUN,
        "status": "succeeded",
        "output": answer_of(KEY, 0),
        "inputs": {"key": KEY, "tasks": 1},
        "last_seq": 5,
        "failures": 0,
        "max_attempts": 3,
        "error_code": None,
        "error_message": None,
        "finished_at": BEGIN,
        "lease_expires_at": None,
        "cancel_requested_at": None,
    }
    client = Client(KEY, 1, pays=True, max_attempts=3)
    client.accepted = [RUN, RUN]
    client.seen = [[as_seen(row) for row in events]]
    client.final = {"status": run["status"], "output": run["output"]}
    begun_at = BEGIN.timestamp()
    return Evidence(
        clients=[client],
        runs={RUN: run},
        events={RUN: events},
        keys=[{"key": KEY, "run_id": RUN}],
        workers=[{"id": "worker-1", "slots": 4, "free_slots": 4}],
        effects=[{"run_id": RUN, "task": 0, "made_at": BEGIN + timedelta(seconds=3)}],
        ledger=[Entry("task", KEY, 0, "k1", begun_at), Entry("effect", KEY, 0, "k1", begun_at)],
    )


def broken(evidence: Evidence) -> set[str]:
    return {verdict.rule for verdict in judge(evidence) if verdict.faults}


def test_it_finds_nothing_where_all_is_well(evidence: Evidence) -> None:
    assert broken(evidence) == set()


def _lose_a_run(evidence: Evidence) -> None:
    del evidence.runs[RUN], evidence.events[RUN]


def _end_twice(evidence: Evidence) -> None:
    evidence.events[RUN].append(event(6, "run.failed"))


def _hang(evidence: Evidence) -> None:
    evidence.runs[RUN]["status"] = "running"


def _lose_an_event(evidence: Evidence) -> None:
    del evidence.events[RUN][1]


def _change_an_event(evidence: Evidence) -> None:
    evidence.events[RUN][2]["payload"] = {"text": "another"}


def _skip_an_event(evidence: Evidence) -> None:
    del evidence.clients[0].seen[0][2]


def _accept_twice(evidence: Evidence) -> None:
    evidence.clients[0].accepted.append("another")


def _show_another_end(evidence: Evidence) -> None:
    evidence.clients[0].final = {"status": "failed", "output": None}


def _refuse(evidence: Evidence) -> None:
    evidence.clients[0].complaints.append("404")


def _skip_a_task(evidence: Evidence) -> None:
    evidence.runs[RUN]["inputs"]["tasks"] = 2


def _execute_in_a_later_attempt(evidence: Evidence) -> None:
    evidence.events[RUN][2]["payload"]["text"] += f" {KICKOFF_MARK}k2"
    evidence.events[RUN][3]["attempt"] = 0
    evidence.ledger.append(Entry("task", KEY, 0, "k2", BEGIN.timestamp()))


def _execute_after_the_end(evidence: Evidence) -> None:
    evidence.ledger.append(Entry("task", KEY, 0, "k2", BEGIN.timestamp() + 100))


def _pay_again(evidence: Evidence) -> None:
    evidence.ledger.append(Entry("effect", KEY, 0, "k2", BEGIN.timestamp() + 100))


def _write_late(evidence: Evidence) -> None:
    evidence.events[RUN].insert(2, event(3, "run.started", 2))


def _cancel_unasked(evidence: Evidence) -> None:
    evidence.runs[RUN]["status"] = "cancelled"


def _fail_early(evidence: Evidence) -> None:
    evidence.runs[RUN] |= {"status": "failed", "error_code": "attempts_exhausted"}


def _keep_a_lease(evidence: Evidence) -> None:
    evidence.runs[RUN]["lease_expires_at"] = BEGIN


def _keep_a_slot(evidence: Evidence) -> None:
    evidence.workers[0]["free_slots"] = 3


def _leave_a_process(evidence: Evidence) -> None:
    evidence.leftovers.append("process 1 remains")


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (_lose_a_run, "Every accepted run is stored"),
        (_end_twice, "Every run has ended once, and its log with it"),
        (_hang, "Every run has ended once, and its log with it"),
        (_lose_an_event, "Event numbers have no gap and no duplicate"),
        (_lose_an_event, "Every event that a client saw is stored, identical"),
        (_change_an_event, "Every event that a client saw is stored, identical"),
        (_skip_an_event, "Every watcher saw the whole log, in order, once"),
        (_accept_twice, "One idempotency key is one run"),
        (_show_another_end, "The end that clients were shown is the one that is stored"),
        (_refuse, "No client was refused what it may have"),
        (_skip_a_task, "Every task of a successful run was completed once, rightly"),
        (_execute_in_a_later_attempt, "No finished task was executed again"),
        (_execute_after_the_end, "No finished task was executed again"),
        (_pay_again, "No side effect that was kept happened again"),
        (_write_late, "No attempt wrote after the next one began"),
        (_cancel_unasked, "Who is cancelled was to be, and stays so"),
        (_fail_early, "Who has failed had no attempt left"),
        (_keep_a_lease, "No process and no lease remains"),
        (_keep_a_slot, "No process and no lease remains"),
        (_leave_a_process, "No process and no lease remains"),
    ],
)
def test_it_finds_each_kind_of_violation(
    evidence: Evidence, spoil: Callable[[Evidence], None], rule: str
) -> None:
    spoil(evidence)
    assert rule in broken(evidence)
