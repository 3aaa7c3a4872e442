"""`make bench`: measures all subjects, prints a table, writes docs/benchmarks/."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.benchmarks.bare import measure_processes
from tests.benchmarks.measure import Result, now
from tests.benchmarks.mesh import measure_mesh
from tests.benchmarks.wrapper import measure_wrapper

OUTPUT = Path(__file__).parents[2] / "docs" / "benchmarks"

SUBJECTS = {
    "bare": "crew.kickoff() in one process",
    "limit": "one bare process a core, nothing shared",
    "wrapper": "FastAPI + kickoff_async, nothing stored",
    "crewmesh": "Crewmesh over REST, everything stored",
}
FIGURES = {
    "c1_p50_ms": "latency, 1 caller, p50, ms",
    "c16_runs_per_s": "runs/s, 16 callers",
    "private_mb_per_run": "private memory a running run, MiB",
    "cancel_p50_ms": "cancel, p50, ms",
    "cancel_p99_ms": "cancel, p99, ms",
    "chunk_events_per_s": "chunks/s to the client, one run of 1,000",
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="load on each subject")
    parser.add_argument("--times", type=int, default=100, help="repetitions of single figures")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    console = Console()
    seconds, times = options.seconds, options.times
    results: dict[str, Result] = {}
    for name, description in SUBJECTS.items():
        console.print(f"measuring {name}: {description} ...")
        match name:
            case "bare":
                results[name] = measure_processes(1, seconds, times)
            case "limit":
                results[name] = measure_processes(os.cpu_count() or 1, seconds, times)
            case "wrapper":
                results[name] = asyncio.run(measure_wrapper(seconds, times))
            case "crewmesh":
                results[name] = asyncio.run(measure_mesh(seconds, times))
    console.print(_table(results))
    _write(results, options.output)


def _table(results: dict[str, Result]) -> Table:
    table = Table(title="A one-task crew with a model that answers at once")
    table.add_column("")
    for name in results:
        table.add_column(name, justify="right")
    for figure, description in FIGURES.items():
        values = (result.rounded()[figure] for result in results.values())
        table.add_row(description, *("-" if value is None else f"{value:,}" for value in values))
    return table


def _write(results: dict[str, Result], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    report = {
        "at": now(),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "python": platform.python_version(),
            "crewai": version("crewai"),
        },
        "results": {name: result.rounded() for name, result in results.items()},
    }
    (directory / "latest.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
