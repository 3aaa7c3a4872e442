"""What a chaos run prints, and what docs/chaos.md holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tests.chaos.evidence import Evidence
from tests.chaos.faults import Injector
from tests.chaos.mesh import GATEWAYS, LEASE_SECONDS, STORES, WORKERS, Mesh
from tests.chaos.oracle import Verdict, statuses

_PREFACE = """\
# Chaos

`make chaos` wrote this. It starts a mesh of {gateways} gateways, {workers} workers, {stores} stores
and Postgres, with leases of {lease:.0f} s and a proxy in every connection; loads it with runs of 1 to 5
tasks, over REST and over gRPC, with watchers that come and go, cancellations, requests that are sent
twice, people who are asked and answer, datasets and files; and breaks something every second or so.
Then an oracle outside of the product compares the database with what
every client was told and with a ledger of what was executed. `python -m tests.chaos --help` has more.

Seed {seed}: {runs:,} runs and {faults:,} faults in {seconds:.0f} s, {violations:,} violations.
"""


def as_markdown(
    seed: int,
    mesh: Mesh,
    injector: Injector,
    evidence: Evidence,
    verdicts: Sequence[Verdict],
    seconds: float,
) -> str:
    """Return the report of a chaos run."""
    preface = _PREFACE.format(
        gateways=GATEWAYS,
        workers=WORKERS,
        stores=STORES,
        lease=LEASE_SECONDS,
        seed=seed,
        runs=len(evidence.runs),
        faults=injector.done.total(),
        seconds=seconds,
        violations=sum(len(verdict.faults) for verdict in verdicts),
    )
    skipped = [f"{name} was skipped: {why}.\n" for name, why in injector.skipped.items()]
    judged = [(v.rule, v.looked_at, len(v.faults)) for v in verdicts]
    return "\n".join(
        [
            preface,
            *_table(("faults", "times"), sorted(injector.done.items())),
            *skipped,
            *_table(("what happened to runs and clients", "times"), _happenings(mesh, evidence)),
            *_table(("what must hold", "looked at", "violations"), judged),
        ]
    )


def _happenings(mesh: Mesh, evidence: Evidence) -> list[tuple[str, int]]:
    clients, runs = evidence.clients, evidence.runs.values()
    again = sum(max(0, len(client.accepted) - 1) for client in clients)
    ends = Counter({part.name: part.own_ends for part in mesh.parts.values() if part.own_ends})
    return [
        *((f"runs {status}", count) for status, count in sorted(statuses(evidence).items())),
        ("runs that took more than one attempt", sum(run["attempt"] > 1 for run in runs)),
        ("attempts that went on after a finished task", len(evidence.all_events("run.resumed"))),
        ("tasks begun", len(evidence.entries("task"))),
        ("side effects", len(evidence.entries("effect"))),
        ("side effects made again, the first not having been kept", _again(evidence)),
        ("requests sent again by clients", sum(client.repetitions for client in clients)),
        ("answers that accepted a run once more", again),
        ("questions to people", len(evidence.all_events("input.requested"))),
        ("answers taken", len(evidence.all_events("input.received"))),
        ("answers refused, another having been taken", _refused(evidence)),
        ("files made", len(evidence.all_events("artifact.created"))),
        ("runs that were started over gRPC", sum(client.way != "rest" for client in clients)),
        ("event streams opened again", sum(client.reconnects for client in clients)),
        *((f"{name} ended without being told to", count) for name, count in sorted(ends.items())),
    ]


def _refused(evidence: Evidence) -> int:
    answers = [answer for client in evidence.clients for answer in client.answers]
    return sum(answer.refused > 0 for answer in answers)


def _again(evidence: Evidence) -> int:
    made = Counter((run_id, entry.task) for run_id, entry in evidence.entries("effect"))
    return made.total() - len(made)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    ruled = ["---", *["---:"] * (len(head) - 1)]
    return [_row(head), _row(ruled), *(_row(row) for row in rows), ""]


def _row(cells: Sequence[object]) -> str:
    texts = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells]
    return f"| {' | '.join(texts)} |"
