"""`python -m tests.e2e.rolling`: restarts every service of a mesh under load, one after another.

The mesh, its clients and the oracle are those of the chaos harness. Exits with 1 when
something was lost, doubled or failed, or when a client saw more than a broken connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.client import Client
from tests.chaos.console import say
from tests.chaos.evidence import Evidence, collect, copy_effects, log_of, rest
from tests.chaos.mesh import WORKERS, Mesh
from tests.chaos.oracle import judge
from tests.chaos.part import Part
from tests.fleet import fleet, use

_SEED = 11
_ROUND_SECONDS = 6.0
_RUNS_PER_ROUND = 24
_RESTART_SECONDS = 120.0


def main() -> None:
    """Restart everything once and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.rolling", description=__doc__)
    parser.add_argument("--keep", type=Path, help="an empty directory for logs that stay")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory(prefix="crewmesh-rolling-") as directory:
        root = Path(directory)
        # Postgres runs as another user, if this is root.
        root.chmod(0o711)
        faults = asyncio.run(_run(root, keep))
    for fault in faults:
        say(f"VIOLATED: {fault}")
    sys.exit(1 if faults else 0)


async def _run(root: Path, keep: Path | None) -> list[str]:
    mesh = fleet(root, _SEED)
    try:
        await mesh.start()
        copy_effects(mesh.database_url)
        restarted = asyncio.Event()
        loading = asyncio.create_task(_load(mesh, restarted))
        await _restart_all(mesh)
        restarted.set()
        clients = await loading
        await rest(mesh.database_url, WORKERS)
        evidence = collect(mesh.database_url, clients, mesh.ledger, WORKERS)
        stubborn = await mesh.stop_services()
        evidence.leftovers = [f"{name} didn't stop" for name in stubborn]
        evidence.leftovers += [f"process {p.pid} remains" for p in mesh.runner_processes()]
    finally:
        await mesh.stop()
        if keep:
            mesh.logs.rename(keep)
    say(f"{dict(Counter(run['status'] for run in evidence.runs.values()))}")
    say(f"{sum(client.reconnects for client in clients)} streams were opened again")
    verdicts = judge(evidence)
    broken = [
        f"{verdict.rule}: {words}, run {run_id}\n{log_of(evidence.events.get(run_id, []))}"
        for verdict in verdicts
        for run_id, words in verdict.faults
    ]
    return [*broken, *_ends_other_than_well(evidence), *_errors_answered(mesh)]


async def _load(mesh: Mesh, enough: asyncio.Event) -> list[Client]:
    """Begin round after round until `enough` is set; return all clients when all have ended."""
    rounds: list[asyncio.Task[list[Client]]] = []
    async with asyncio.TaskGroup() as group:
        while not enough.is_set():
            seed = _SEED * 1000 + len(rounds)
            round_of_runs = use(mesh, seed, _RUNS_PER_ROUND, _ROUND_SECONDS)
            rounds.append(group.create_task(round_of_runs))
            await asyncio.sleep(_ROUND_SECONDS)
    return [client for each in rounds for client in each.result()]


async def _restart_all(mesh: Mesh) -> None:
    for kind in ("store", "worker", "gateway"):
        for part in mesh.parts_of(kind):
            begun_at = time.monotonic()
            await _restart(part)
            say(f"{part.name} is back after {time.monotonic() - begun_at:.1f} s")


async def _restart(part: Part) -> None:
    async with asyncio.timeout(_RESTART_SECONDS):
        await part.ready.wait()
        part.signal(signal.SIGTERM)
        await part.ready.wait()


def _ends_other_than_well(evidence: Evidence) -> Iterator[str]:
    """Find runs that didn't succeed though nobody cancelled them, and attempts that failed."""
    cancelled = {client.run_id for client in evidence.clients if client.cancels}
    for run_id, run in evidence.runs.items():
        if run["status"] != "succeeded" and run_id not in cancelled:
            yield f"run {run_id} is {run['status']}: {run['error_message']}"
        if run["failures"]:
            queued = [e["payload"] for e in evidence.events[run_id] if e["type"] == "run.queued"]
            yield f"run {run_id} wasn't handed back in good order: {queued[1:]}"


def _errors_answered(mesh: Mesh) -> Iterator[str]:
    """Find requests that a gateway, by its log, answered with an error."""
    for log in sorted(mesh.logs.glob("gateway-*.log")):
        entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        for entry in entries:
            if entry["event"] == "request" and entry["status"] >= 500:
                same = [e for e in entries if e.get("request_id") == entry["request_id"]]
                yield f"{log.stem} answered {same}"


if __name__ == "__main__":
    main()
