"""The judge, who stands outside the product: a table of rules, each over all of the evidence."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.chaos import exchanges
from tests.chaos.client import TERMINAL_TYPES
from tests.chaos.crews.names import answer_of, content_of, digest
from tests.chaos.evidence import Evidence, Fault, Row, Rule, as_text


@dataclass(frozen=True)
class Verdict:
    """What became of one rule: how many things it looked at, and what it found."""

    rule: str
    looked_at: int
    faults: list[Fault]


def judge(evidence: Evidence) -> list[Verdict]:
    """Apply every rule."""
    verdicts = []
    for name, rule in RULES.items():
        findings = list(rule(evidence))
        verdicts.append(Verdict(name, len(findings), [fault for fault in findings if fault]))
    return verdicts


def _accepted(evidence: Evidence) -> Iterator[Fault | None]:
    for client in evidence.clients:
        if not client.accepted:
            yield "", f"{client.key} was never accepted: {client.complaints}"
        elif client.run_id not in evidence.runs:
            yield client.run_id, "was accepted, but isn't stored"
        else:
            yield None


def _ended_once(evidence: Evidence) -> Iterator[Fault | None]:
    for run_id, run in evidence.runs.items():
        events = evidence.events.get(run_id, [])
        ends = [event["type"] for event in events if event["type"] in TERMINAL_TYPES]
        if ends != [f"run.{run['status']}"] or events[-1]["type"] != ends[0]:
            yield run_id, f"is {run['status']}, its log has {ends} and ends {_types(events[-3:])}"
        elif run["finished_at"] is None:
            yield run_id, "has ended at no time"
        else:
            yield None


def _numbered(evidence: Evidence) -> Iterator[Fault | None]:
    for run_id, run in evidence.runs.items():
        numbers = [event["seq"] for event in evidence.events.get(run_id, [])]
        right = numbers == list(range(1, run["last_seq"] + 1))
        yield None if right else (run_id, f"last_seq {run['last_seq']}, but {numbers}")


def _seen_is_stored(evidence: Evidence) -> Iterator[Fault | None]:
    for client in evidence.clients:
        stored = {e["seq"]: _as_shown(e) for e in evidence.events.get(client.run_id, [])}
        for event in (event for seen in client.seen for event in seen):
            same = stored.get(event["seq"]) == {**event, "at": datetime.fromisoformat(event["at"])}
            yield None if same else (client.run_id, f"a client saw {as_text(event)}")


def _streams_whole(evidence: Evidence) -> Iterator[Fault | None]:
    for client in evidence.clients:
        length = len(evidence.events.get(client.run_id, []))
        for seen in client.seen:
            numbers = [event["seq"] for event in seen]
            right = numbers == list(range(1, length + 1))
            yield None if right else (client.run_id, f"a watcher saw {numbers} of 1 to {length}")


def _one_run_a_key(evidence: Evidence) -> Iterator[Fault | None]:
    run_of_key = {row["key"]: str(row["run_id"]) for row in evidence.keys}
    of_inputs = defaultdict(list)
    for run_id, run in evidence.runs.items():
        of_inputs[run["inputs"]["key"]].append(run_id)
    for client in evidence.clients:
        told, stored = set(client.accepted), of_inputs[client.key]
        right = told == set(stored) and stored == [run_of_key.get(client.key)]
        yield None if right else (client.run_id, f"{client.key}: told {told}, stored {stored}")


def _final_state_agrees(evidence: Evidence) -> Iterator[Fault | None]:
    for client in evidence.clients:
        run = evidence.runs.get(client.run_id)
        shown = client.final
        if run is None or shown is None:
            yield client.run_id, "was never shown in its final state"
            continue
        right = (shown["status"], shown["output"]) == (run["status"], run["output"])
        yield None if right else (client.run_id, f"is {run['status']}, shown {as_text(shown)}")


def _not_contradicted(evidence: Evidence) -> Iterator[Fault | None]:
    for client in evidence.clients:
        yield (client.run_id, str(client.complaints)) if client.complaints else None


def _tasks_done(evidence: Evidence) -> Iterator[Fault | None]:
    for run_id, run in evidence.runs.items():
        done = [e for e in evidence.events.get(run_id, []) if e["type"] == "task.completed"]
        indexes = [event["payload"]["index"] for event in done]
        tasks, notes = run["inputs"]["tasks"], _notes(evidence.events.get(run_id, []))
        if run["status"] == "succeeded" and indexes != list(range(tasks)):
            yield run_id, f"has succeeded, but has completed {indexes} of {tasks} tasks"
        elif len(set(indexes)) != len(indexes):
            yield run_id, f"has completed the tasks {indexes}"
        elif wrong := [e for e in done if e["payload"]["output"] != _right(run, _index(e), notes)]:
            yield run_id, f"has another output: {as_text(wrong[0]['payload'])}"
        elif run["status"] == "succeeded" and run["output"] != _right(run, tasks - 1, notes):
            yield run_id, f"has put out {as_text(run['output'])}"
        else:
            yield None


def _right(run: Row, task: int, notes: Sequence[str]) -> str:
    """Return what the task has to put out after a person's notes on the task that asks."""
    inputs = run["inputs"]
    data = digest(content_of(inputs["key"], "data")) if "data" in inputs and task == 0 else ""
    return answer_of(inputs["key"], task, notes if task == inputs["asks"] else (), data)


def _notes(events: list[Row]) -> list[str]:
    """Return what a person who wasn't content has said, in order."""
    received = [event["payload"] for event in events if event["type"] == "input.received"]
    return [payload["text"] for payload in received if not payload["approve"]]


def _no_finished_task_again(evidence: Evidence) -> Iterator[Fault | None]:
    """Look at each execution in the ledger: none is of a later attempt than the task's end.

    A kickoff of which no event was stored counts as later if it began after that end.
    """
    attempts = evidence.attempts_of_kickoffs()
    ends = {
        (str(event["run_id"]), _index(event)): event
        for event in evidence.all_events("task.completed")
    }
    for run_id, entry in evidence.entries("task"):
        end, attempt = ends.get((run_id, entry.task)), attempts.get(entry.kickoff)
        if end is None:
            again = False
        elif attempt is None:
            again = entry.begun_at > end["at"].timestamp()
        else:
            again = attempt > end["attempt"]
        words = f"attempt {attempt or 'unknown'} executed task {entry.task} again"
        yield (run_id, words) if again else None


def _no_effect_again(evidence: Evidence) -> Iterator[Fault | None]:
    """Look at each side effect: none is of a kickoff that began when it was kept already."""
    kept = {
        (str(effect["run_id"]), effect["task"]): effect["made_at"].timestamp()
        for effect in evidence.effects
    }
    for run_id, entry in evidence.entries("effect"):
        again = entry.begun_at > kept.get((run_id, entry.task), math.inf)
        yield (run_id, f"task {entry.task} paid again") if again else None


def _attempts_follow(evidence: Evidence) -> Iterator[Fault | None]:
    """Look at each event: it is of the attempt that the last run.started has begun."""
    for run_id, events in evidence.events.items():
        attempt = 0
        for event in events:
            if event["type"] == "run.started":
                attempt += 1
            right = event["attempt"] == attempt
            yield None if right else (run_id, f"event {event['seq']} is of {event['attempt']}")


def _cancelled_on_request(evidence: Evidence) -> Iterator[Fault | None]:
    for client in evidence.clients:
        run = evidence.runs.get(client.run_id)
        if run is None:
            continue
        if run["status"] == "cancelled" and run["cancel_requested_at"] is None:
            yield client.run_id, "is cancelled, but nobody wanted that"
        elif any(a["status"] == "cancelled" for a in client.cancels) > (
            run["status"] == "cancelled"
        ):
            yield client.run_id, f"was shown as cancelled, but is {run['status']}"
        elif client.cancels and run["status"] == "failed":
            yield client.run_id, "was to be cancelled, but has failed"
        else:
            yield None


def _failed_with_reason(evidence: Evidence) -> Iterator[Fault | None]:
    for run_id, run in evidence.runs.items():
        if run["status"] == "timed_out":
            yield run_id, "has timed out"
        elif run["status"] == "failed" and (
            run["error_code"] != "attempts_exhausted" or run["failures"] + 1 < run["max_attempts"]
        ):
            yield run_id, f"has failed: {run['error_code']}: {run['error_message']}"
        else:
            yield None


def _nothing_remains(evidence: Evidence) -> Iterator[Fault | None]:
    for run_id, run in evidence.runs.items():
        leased = run["lease_expires_at"] is not None
        yield (run_id, "has a lease still") if leased else None
    for worker in evidence.workers:
        busy = worker["free_slots"] != worker["slots"]
        yield ("", f"worker {worker['id']} has {worker['free_slots']} free slots") if busy else None
    for leftover in evidence.leftovers:
        yield "", leftover


# Each is a sentence that must hold.
RULES: dict[str, Rule] = {
    "Every accepted run is stored": _accepted,
    "Every run has ended once, and its log with it": _ended_once,
    "Event numbers have no gap and no duplicate": _numbered,
    "Every event that a client saw is stored, identical": _seen_is_stored,
    "Every watcher saw the whole log, in order, once": _streams_whole,
    "One idempotency key is one run": _one_run_a_key,
    "The end that clients were shown is the one that is stored": _final_state_agrees,
    "No client was refused what it may have": _not_contradicted,
    "Every task of a successful run was completed once, rightly": _tasks_done,
    "No finished task was executed again": _no_finished_task_again,
    "No side effect that was kept happened again": _no_effect_again,
    "Every answer that was acknowledged is used once, and no other": exchanges.answers_used_once,
    "Every file that was announced is stored and comes back as it was": exchanges.artifacts_kept,
    "Every dataset that was accepted comes back as it was": exchanges.datasets_come_back,
    "No attempt wrote after the next one began": _attempts_follow,
    "Who is cancelled was to be, and stays so": _cancelled_on_request,
    "Who has failed had no attempt left": _failed_with_reason,
    "No process and no lease remains": _nothing_remains,
}


def _types(events: list[Row]) -> list[str]:
    return [event["type"] for event in events]


def _index(event: Row) -> int:
    index: int = event["payload"]["index"]
    return index


def _as_shown(event: Row) -> dict[str, Any]:
    return {
        **event,
        "run_id": str(event["run_id"]),
        "task": event["task"] or None,
        "agent": event["agent"] or None,
    }


def statuses(evidence: Evidence) -> Counter[str]:
    """Count the runs by how they ended."""
    return Counter(run["status"] for run in evidence.runs.values())
