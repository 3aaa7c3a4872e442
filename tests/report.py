"""`make report`: tests with their coverage, and the benchmarks as plots, in build/report."""

from __future__ import annotations

import argparse
import html
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "docs" / "benchmarks"
AIM_PERCENT = 90.0
# Seen with Python 3.11, and not with 3.13: nothing was counted of a command that had called
# asyncio.run, from there on.
_TOO_LOW = (
    "; with Python before 3.13 too little is counted: try `make report PYTHON=python3.13` in a clone"
    if sys.version_info < (3, 13)
    else ""
)

Plot = Callable[[dict[str, Any], Axes], None]


def measure(directory: Path, tests: list[str]) -> int:
    """Run tests in two processes with branch coverage of everything they start; return their status.

    What is measured takes about twice the time, so tests have more of it, and those that load
    the machine for minutes are left out.
    What was measured in that directory before is added to.
    """
    environment = {
        **os.environ,
        "COVERAGE_FILE": str(directory / "data" / ".coverage"),
        "PYTHONPATH": str(ROOT),  # tests.measuring is coverage's plugin in all processes
    }
    (directory / "data").mkdir(parents=True, exist_ok=True)
    python = [sys.executable, "-m"]
    status = subprocess.run(
        [*python, "coverage", "run", "-m", "pytest", "--numprocesses", "2", "--dist", "loadfile",
         "--no-loadscope-reorder", "-m", "not unmeasured", "--timeout", "300", "--verbose",
         # The other styles parse sources, which Python 3.11 can fail at while it is being measured
         # ("AST constructor recursion depth mismatch"); that ended all of a run at one failed test.
         "--tb", "native",
         f"--junit-xml={directory / 'tests.xml'}", *tests],
        cwd=ROOT, env=environment, check=False,
    ).returncode  # fmt: skip
    for step in (
        ["combine", "--quiet", "--append"],
        ["html", "--quiet", "--directory", str(directory / "coverage")],
        ["json", "--quiet", "-o", str(directory / "coverage.json")],
    ):
        subprocess.run([*python, "coverage", *step], cwd=ROOT, env=environment, check=True)
    return status


@dataclass(frozen=True)
class Covered:
    """How many of the lines, or of the branches, some test has taken."""

    what: str
    taken: int
    there: int

    @property
    def percent(self) -> float:
        return 100 * self.taken / self.there

    def __str__(self) -> str:
        return f"{self.taken:,} of {self.there:,} {self.what}, {self.percent:.1f} %"


def read_covered(directory: Path) -> list[Covered]:
    """What `measure` found, lines and branches apart: few branches among many lines would hide."""
    totals = json.loads((directory / "coverage.json").read_text(encoding="utf-8"))["totals"]
    return [
        Covered("lines", totals["covered_lines"], totals["num_statements"]),
        Covered("branches", totals["covered_branches"], totals["num_branches"]),
    ]


def _subjects(results: dict[str, Any], axes: Axes) -> None:
    for place, measure_name in enumerate(("c1_p50_ms", "c16_runs_per_s")):
        values = [of[measure_name] for of in results["results"].values()]
        bars = axes.bar(
            [x + 0.4 * place for x in range(len(values))], values, 0.38, label=measure_name
        )
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks([x + 0.2 for x in range(len(results["results"]))], list(results["results"]))
    axes.set_ylabel("ms, or runs/s")
    axes.legend(["latency, 1 caller, p50 (ms)", "throughput, 16 callers (runs/s)"])


def _scaling(results: dict[str, Any], axes: Axes) -> None:
    for operation, medians in results["p50_ms"].items():
        axes.plot([int(n) for n in medians], list(medians.values()), marker="o", label=operation)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("finished runs in the store")
    axes.set_ylabel("median, ms")
    axes.legend(fontsize=8)


def _recovery(results: dict[str, Any], axes: Axes) -> None:
    seconds = results["seconds"]
    axes.boxplot(list(seconds.values()), orientation="horizontal", tick_labels=list(seconds))
    axes.set_xscale("log")
    axes.set_xlabel("seconds until the last run goes on elsewhere")


def _recommender(results: dict[str, Any], axes: Axes) -> None:
    named = {
        "answer": "answer_ms",
        "answer (CPU)": "answer_cpu_ms",
        "first answer": "first_answer_of_a_process_ms",
    }
    for place, (label, key) in enumerate(named.items()):
        of = results["results"][key]
        bars = axes.bar(
            [x + 0.27 * place for x in range(len(of))], list(of.values()), 0.25, label=label
        )
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks([x + 0.27 for x in range(3)], ["p50", "p95", "p99"])
    axes.set_ylabel("ms")
    axes.legend()


def _tracing(results: dict[str, Any], axes: Axes) -> None:
    measures = {"services_cpu_ms_per_run": "services' CPU a run", "run_p50_ms": "a run, p50"}
    for place, how in enumerate(("off", "on")):
        values = [results["results"][how][key] for key in measures]
        bars = axes.bar([x + 0.4 * place for x in range(2)], values, 0.38, label=f"tracing {how}")
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks([0.2, 1.2], list(measures.values()))
    axes.set_ylabel("ms")
    axes.legend()


def _load(results: dict[str, Any], axes: Axes) -> None:
    named = {"accept": "accepting a run", "event": "an event to its watcher", "run": "a whole run"}
    for place, (key, label) in enumerate(named.items()):
        of = results["results"]["ms"][key]
        bars = axes.bar(
            [x + 0.27 * place for x in range(len(of))], list(of.values()), 0.25, label=label
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xticks([x + 0.27 for x in range(3)], ["p50", "p90", "p99"])
    axes.set_yscale("log")
    axes.set_ylabel("ms")
    axes.legend()


def _request_limits(results: dict[str, Any], axes: Axes) -> None:
    of = results["results"]["gateway_us_per_request"]
    bars = axes.bar([f"limits {how}" for how in of], list(of.values()), 0.5)
    axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_ylabel("gateway, \N{MICRO SIGN}s a request")


def _console(results: dict[str, Any], axes: Axes) -> None:
    of = results["results"]["frame_ms"]
    bars = axes.bar(list(of), list(of.values()), 0.5)
    axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_ylabel("ms a frame")


PLOTS: dict[str, tuple[str, Plot]] = {
    "latest": ("Crewmesh beside bare CrewAI and a wrapper", _subjects),
    "scaling": ("What operations cost as history grows", _scaling),
    "recovery": ("How long runs stand still", _recovery),
    "recommender": ("Recommendations from a million interactions", _recommender),
    "tracing": ("What tracing costs", _tracing),
    "request-limits": ("What limits to requests cost", _request_limits),
    "load": ("500 runs at once, 1,000 watchers", _load),
    "console": ("The console while 50,000 events come", _console),
}


def plot(directory: Path) -> list[tuple[str, str, str]]:
    """Draw the results of each benchmark that has some; return each one's name, title, and when and where it was measured."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (title, draw) in PLOTS.items():
        if not (measured := BENCHMARKS / f"{name}.json").exists():
            continue
        results = json.loads(measured.read_text(encoding="utf-8"))
        figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        draw(results, axes)
        axes.set_title(title)
        axes.grid(axis="y", alpha=0.3)
        figure.savefig(directory / f"{name}.svg")
        plt.close(figure)
        machine = results["machine"]
        if isinstance(machine, dict):
            machine = ", ".join(f"{key} {value}" for key, value in machine.items())
        drawn.append((name, title, f"{results['at']}; {machine}"))
    return drawn


def write(directory: Path, drawn: list[tuple[str, str, str]], covered: list[Covered]) -> None:
    """Write the page that shows all of it."""
    coverage = (
        f'<p><a href="coverage/index.html">Coverage</a>: {"; ".join(map(str, covered))}.</p>'
        if covered
        else "<p>Coverage wasn't measured.</p>"
    )
    figures = "".join(
        f'<h2>{html.escape(title)}</h2><img src="benchmarks/{name}.svg" alt="{html.escape(title)}">'
        f"<p>Measured {html.escape(where)}.</p>"
        for name, title, where in drawn
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Crewmesh: report</title>'
        "<style>body{font:16px sans-serif;max-width:60rem;margin:2rem auto}img{max-width:100%}</style>"
        f"<h1>Tests and benchmarks</h1>{coverage}{figures}</html>"
    )
    (directory / "index.html").write_text(page, encoding="utf-8")


def main() -> int:
    """Write the report; return 0 only when all tests passed and enough is covered, of lines and of branches."""
    parser = argparse.ArgumentParser(prog="python -m tests.report")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "report")
    parser.add_argument("--plots-only", action="store_true", help="run no tests")
    parser.add_argument("--add", action="store_true", help="to what was measured before")
    parser.add_argument("tests", nargs="*", help="some tests only; their coverage is no measure")
    given = parser.parse_args()
    directory: Path = given.output.resolve()
    if not given.add:
        shutil.rmtree(directory, ignore_errors=True)
    status, covered = 0, []
    if not given.plots_only:
        status = measure(directory, given.tests)
        covered = read_covered(directory)
        for of in covered:
            sys.stdout.write(f"{of}\n")
            if of.percent < AIM_PERCENT and not given.tests:
                sys.stdout.write(f"that is less than {AIM_PERCENT:.0f} %{_TOO_LOW}\n")
                status = status or 1
    write(directory, plot(directory / "benchmarks"), covered)
    sys.stdout.write(f"{directory / 'index.html'}\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
