"""`python -m tests.soak`: exits with 1 when a part's memory grows, or a client saw a fault."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.console import say
from tests.fleet import fleet
from tests.soak.load import SteadyLoad
from tests.soak.memory import Sampler
from tests.soak.report import as_markdown
from tests.soak.verdict import judge

_EVERY_SECONDS = 5.0
_TELL_SECONDS = 60.0


def main() -> None:
    """Parse the arguments and go."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=20.0, help="at least 1; 20 say something")
    parser.add_argument("--report", type=Path, help="a Markdown file to write")
    parser.add_argument("--samples", type=Path, help="a JSON file to write all samples to")
    parser.add_argument("--keep", type=Path, help="an empty directory for logs that stay")
    arguments = parser.parse_args()
    if arguments.minutes < 1:
        parser.error("--minutes must be at least 1")
    with tempfile.TemporaryDirectory(prefix="crewmesh-soak-") as directory:
        root = Path(directory)
        # Postgres runs as another user, if this is root.
        root.chmod(0o711)
        sys.exit(asyncio.run(_run(arguments, root)))


async def _run(arguments: argparse.Namespace, root: Path) -> int:
    mesh = fleet(root, arguments.seed)
    load = SteadyLoad(mesh, arguments.seed)
    try:
        await mesh.start()
        say(f"the mesh is ready; {arguments.minutes:g} minutes of load begin")
        sampler = Sampler(mesh)
        loading = asyncio.create_task(load.run(arguments.minutes * 60))
        await _watch(sampler, loading)
        restarted = [
            f"{name} ended and was started again"
            for name, pid in sampler.pids.items()
            if mesh.parts[name].pid != pid
        ]
    finally:
        await mesh.stop()
        if arguments.keep:
            mesh.logs.rename(arguments.keep)
    return _conclude(arguments, sampler, load, restarted)


async def _watch(sampler: Sampler, loading: asyncio.Task[None]) -> None:
    """Sample until the load is over."""
    begun_at = told_at = time.monotonic()
    while not loading.done():
        now = time.monotonic()
        sampler.sample(now - begun_at)
        if now - told_at > _TELL_SECONDS:
            told_at = now
            held = (f"{each.name} {each.mib[-1]:.0f}" for each in sampler.series.values())
            say(f"{now - begun_at:6.0f} s, MiB: {', '.join(held)}")
        await asyncio.wait({loading}, timeout=_EVERY_SECONDS)
    loading.result()


def _conclude(
    arguments: argparse.Namespace, sampler: Sampler, load: SteadyLoad, restarted: list[str]
) -> int:
    series = list(sampler.series.values())
    verdicts = {each.name: judge(each.times, each.mib) for each in series}
    faults = [*restarted, *load.faults]
    text = as_markdown(series, verdicts, load, faults, arguments.minutes, _EVERY_SECONDS)
    say("\n" + text)
    if arguments.report:
        arguments.report.write_text(text, encoding="utf-8")
    if arguments.samples:
        samples = {each.name: list(zip(each.times, each.mib, strict=True)) for each in series}
        arguments.samples.write_text(json.dumps(samples), encoding="utf-8")
    return int(bool(faults) or not all(verdict.flat for verdict in verdicts.values()))


if __name__ == "__main__":
    main()
