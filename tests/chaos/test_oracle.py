"""The oracle finds what it is there for: each rule, broken once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.client import Answer, Client
from tests.chaos.crews.names import KICKOFF_MARK, answer_of, content_of, digest, note
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import Entry
from tests.chaos.oracle import judge

RUN, KEY = "01a20783-0000-7000-8000-000000000000", "run-0"
NOTE = note(0, 1)
DATA, FILE = content_of(KEY, "data"), content_of(KEY, "task-0.csv")
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
    """A run of one task, which paid, made a file and asked, ended well once that was answered."""
    output = answer_of(KEY, 0, [NOTE], digest(DATA))
    events = [
        event(1, "run.queued", 0),
        event(2, "run.started"),
        event(3, "llm.chunk", text=f"{KICKOFF_MARK}k1 said"),
        event(4, "artifact.created", id="a1", name="task-0.csv", size_bytes=len(FILE)),
        event(5, "input.requested"),
        event(6, "input.received", text=NOTE, approve=False),
        event(7, "run.started", 2),
        event(8, "task.completed", 2, index=0, output=output),
        event(9, "run.succeeded", 2),
    ]
    run = {
        "id": RUN,
        "status": "succeeded",
        "output": output,
        "inputs": {"key": KEY, "tasks": 1, "asks": 0, "data": "d1"},
        "last_seq": 9,
        "failures": 0,
        "max_attempts": 3,
        "error_code": None,
        "error_message": None,
        "finished_at": BEGIN,
        "lease_expires_at": None,
        "cancel_requested_at": None,
    }
    client = Client(KEY, 1, max_attempts=3, pays=True, saves=True, asks=0, has_data=True)
    client.dataset, client.dataset_came_back_as = "d1", digest(DATA)
    client.answers = [Answer(5, NOTE, approve=False, acknowledged=2)]
    client.answers += [Answer(5, note(0, 2), approve=True, refused=1)]
    client.downloads = {"a1": digest(FILE)}
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
        artifacts={
            "a1": {"id": "a1", "run_id": RUN, "name": "task-0.csv", "sha256": digest(FILE)},
        },
        ledger=[Entry("task", KEY, 0, "k1", begun_at), Entry("effect", KEY, 0, "k1", begun_at)],
    )


def broken(evidence: Evidence) -> set[str]:
    return {verdict.rule for verdict in judge(evidence) if verdict.faults}


def test_it_finds_nothing_where_all_is_well(evidence: Evidence) -> None:
    assert broken(evidence) == set()


def _lose_a_run(evidence: Evidence) -> None:
    del evidence.runs[RUN], evidence.events[RUN]


def _end_twice(evidence: Evidence) -> None:
    evidence.events[RUN].append(event(10, "run.failed", 2))


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
    evidence.events[RUN].append(event(10, "llm.chunk", 3, text=f"{KICKOFF_MARK}k2"))
    evidence.ledger.append(Entry("task", KEY, 0, "k2", BEGIN.timestamp()))


def _execute_after_the_end(evidence: Evidence) -> None:
    evidence.ledger.append(Entry("task", KEY, 0, "k2", BEGIN.timestamp() + 100))


def _pay_again(evidence: Evidence) -> None:
    evidence.ledger.append(Entry("effect", KEY, 0, "k2", BEGIN.timestamp() + 100))


def _forget_a_note(evidence: Evidence) -> None:
    evidence.events[RUN][7]["payload"]["output"] = answer_of(KEY, 0, (), digest(DATA))


def _work_on_other_data(evidence: Evidence) -> None:
    evidence.events[RUN][7]["payload"]["output"] = answer_of(KEY, 0, [NOTE], digest(FILE))


def _lose_an_answer(evidence: Evidence) -> None:
    evidence.clients[0].answers.append(Answer(5, note(0, 3), approve=True, acknowledged=1))


def _use_an_answer_twice(evidence: Evidence) -> None:
    evidence.events[RUN].append(event(10, "input.received", text=NOTE, approve=False))


def _use_a_refused_answer(evidence: Evidence) -> None:
    evidence.clients[0].answers[0].refused = 1


def _refuse_an_answer(evidence: Evidence) -> None:
    evidence.clients[0].answers.append(Answer(9, note(0, 3), approve=True, refused=1))


def _make_an_answer_up(evidence: Evidence) -> None:
    evidence.clients[0].answers.clear()


def _lose_a_file(evidence: Evidence) -> None:
    evidence.artifacts.clear()


def _store_another_file(evidence: Evidence) -> None:
    evidence.artifacts["a1"]["sha256"] = digest(DATA)


def _give_another_file_back(evidence: Evidence) -> None:
    evidence.clients[0].downloads["a1"] = digest(DATA)


def _give_other_data_back(evidence: Evidence) -> None:
    evidence.clients[0].dataset_came_back_as = digest(FILE)


def _write_late(evidence: Evidence) -> None:
    evidence.events[RUN][7]["attempt"] = 1


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
        (_forget_a_note, "Every task of a successful run was completed once, rightly"),
        (_work_on_other_data, "Every task of a successful run was completed once, rightly"),
        (_lose_an_answer, "Every answer that was acknowledged is used once, and no other"),
        (_use_an_answer_twice, "Every answer that was acknowledged is used once, and no other"),
        (_use_a_refused_answer, "Every answer that was acknowledged is used once, and no other"),
        (_refuse_an_answer, "Every answer that was acknowledged is used once, and no other"),
        (_make_an_answer_up, "Every answer that was acknowledged is used once, and no other"),
        (_lose_a_file, "Every file that was announced is stored and comes back as it was"),
        (_store_another_file, "Every file that was announced is stored and comes back as it was"),
        (
            _give_another_file_back,
            "Every file that was announced is stored and comes back as it was",
        ),
        (_give_other_data_back, "Every dataset that was accepted comes back as it was"),
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
