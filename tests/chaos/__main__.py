"""`python -m tests.chaos`: exits with 1 when the mesh has broken a promise."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.console import say
from tests.chaos.evidence import Evidence, collect, copy_effects, log_of, rest
from tests.chaos.faults import FAULTS, Injector, Planned, plan
from tests.chaos.load import Load
from tests.chaos.mesh import WORKERS, Mesh
from tests.chaos.oracle import Verdict, judge
from tests.chaos.pace import Pace
from tests.chaos.report import as_markdown

# After the last fault, some client must hear something new within this, however slow the
# machine; the longest pause before an attempt is 60 s.
_SILENCE_SECONDS = 180.0
_POLL_SECONDS = 0.2
_SHOWN_VIOLATIONS = 20


def main() -> None:
    """Parse the arguments and go."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--every", type=float, default=0.8, help="seconds between faults, about")
    parser.add_argument("--only", default="", help="faults whose names begin so, with commas")
    parser.add_argument("--report", type=Path, help="a Markdown file to write")
    parser.add_argument("--keep", type=Path, help="an empty directory for logs that stay")
    arguments = parser.parse_args()
    arguments.pick = [name for name in FAULTS if name.startswith(tuple(arguments.only.split(",")))]
    if not arguments.pick:
        parser.error(f"--only {arguments.only}: there are only {', '.join(FAULTS)}")
    with tempfile.TemporaryDirectory(prefix="crewmesh-chaos-") as directory:
        root = Path(directory)
        # Postgres runs as another user, if this is root.
        root.chmod(0o711)
        sys.exit(asyncio.run(_run(arguments, root)))


async def _run(arguments: argparse.Namespace, root: Path) -> int:
    begun_at = time.monotonic()
    planned = plan(arguments.seed, arguments.faults, arguments.every, arguments.pick)
    mesh = Mesh(root, random.Random(f"{arguments.seed}/mesh"))
    pace = Pace()
    injector = Injector(mesh, pace)
    load = Load(
        mesh.urls, mesh.worker_addresses, mesh.api_key, arguments.seed, arguments.runs, pace
    )
    say(f"seed {arguments.seed}: {arguments.runs} runs, {len(planned)} faults")
    try:
        await mesh.start()
        copy_effects(mesh.database_url)
        say(f"the mesh is ready after {time.monotonic() - begun_at:.1f} s")
        spread = planned[-1].at + arguments.every if planned else arguments.every
        passing = asyncio.create_task(pace.run())
        await _break(load, injector, planned, spread)
        passing.cancel()
        evidence = await _take_stock(mesh, load)
    finally:
        await mesh.stop()
        if arguments.keep:
            mesh.logs.rename(arguments.keep)
    verdicts = judge(evidence)
    seconds = time.monotonic() - begun_at
    text = as_markdown(arguments.seed, mesh, injector, evidence, verdicts, seconds)
    say("\n" + text)
    if arguments.report:
        arguments.report.write_text(text, encoding="utf-8")
    return _tell_violations(verdicts, evidence)


async def _break(load: Load, injector: Injector, planned: list[Planned], spread: float) -> None:
    """Load the mesh while faults strike; give it time to settle afterwards."""
    loading = asyncio.create_task(load.run(spread))
    await injector.run(planned)
    await injector.mesh.all_ready()
    say("the last fault is over")
    over_at = time.monotonic()
    if await _settles(loading, load):
        loading.result()
        say(f"all runs have ended {time.monotonic() - over_at:.1f} s later")
    else:
        say(f"no client has heard anything new for {_SILENCE_SECONDS:.0f} s; some wait still")
        loading.cancel()
        await asyncio.wait([loading])


async def _settles(loading: asyncio.Task[None], load: Load) -> bool:
    """Wait for the clients' ends; return False when they hang."""
    heard, since = load.heard, time.monotonic()
    while not loading.done():
        await asyncio.wait([loading], timeout=_POLL_SECONDS)
        if load.heard > heard:
            heard, since = load.heard, time.monotonic()
        elif time.monotonic() - since > _SILENCE_SECONDS:
            return False
    return True


async def _take_stock(mesh: Mesh, load: Load) -> Evidence:
    """Collect the evidence of a mesh at rest, then stop all but Postgres and see what is left."""
    await rest(mesh.database_url, WORKERS)
    workers = {part.pid for part in mesh.parts_of("worker")}
    lost = [
        f"process {process.pid} has lost its worker"
        for process in mesh.runner_processes()
        if workers.isdisjoint(parent.pid for parent in process.parents())
    ]
    evidence = collect(mesh.database_url, load.clients, mesh.ledger, WORKERS)
    stubborn = await mesh.stop_services()
    left = [f"process {process.pid} remains" for process in mesh.runner_processes()]
    evidence.leftovers = lost + [f"{name} didn't stop" for name in stubborn] + left
    return evidence


def _tell_violations(verdicts: list[Verdict], evidence: Evidence) -> int:
    broken = [verdict for verdict in verdicts if verdict.faults]
    for verdict in broken:
        say(f"\nVIOLATED: {verdict.rule}")
        for run_id, words in verdict.faults[:_SHOWN_VIOLATIONS]:
            say(f"  {run_id or '-'}  {words}")
            if run_id in evidence.events:
                say(log_of(evidence.events[run_id]))
        if len(verdict.faults) > _SHOWN_VIOLATIONS:
            say(f"  and {len(verdict.faults) - _SHOWN_VIOLATIONS} more")
    say("\nNo violation." if not broken else "")
    return 1 if broken else 0


if __name__ == "__main__":
    main()
