"""`make bench-recommender`: how fast the recommender answers, and whether it finds tastes.

Everything is measured through the tool's own `run`. Each *first* answer is in a process
of its own, as a run's first is in a new runner.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# As in runner processes.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np

from crewmesh_worker.runner import cache
from crewmesh_worker.tools.catalogue import recommend_items
from crewmesh_worker.tools.context import enter_run
from tests.benchmarks.interactions import Interactions, make_interactions
from tests.benchmarks.measure import write_report

OUTPUT = Path(__file__).parents[2] / "docs" / "benchmarks" / "recommender.json"
_FIRST_ANSWERS = 20


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_060_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--answers", type=int, default=2_000)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--first", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first:
        sys.stdout.write(f"{_first_answer(*map(Path, options.first))}\n")
        return
    data = make_interactions(options.rows, options.users, options.items)
    with tempfile.TemporaryDirectory() as directory:
        results = _measure(data, Path(directory), options.answers)
    write_report(options.output, results)


def _measure(data: Interactions, directory: Path, answers: int) -> dict[str, Any]:
    """Hide each user's last item, train on the rest, and ask for it."""
    held_out = dict(zip(data.users.tolist(), data.items.tolist(), strict=True))
    last = {user: place for place, user in enumerate(data.users.tolist())}
    kept = np.ones(len(data.users), bool)
    kept[list(last.values())] = False
    training = Interactions(data.users[kept], data.items[kept], data.genres)
    path, kept_dir = directory / "interactions.csv", directory / "cache"
    path.write_text(training.csv(), encoding="utf-8")
    _use(path, kept_dir)
    known = np.unique(training.users)
    asked = np.random.default_rng(2).choice(known, answers, replace=False).tolist()
    model, seconds = _timed(lambda: _recommend(f"u{asked[0]}")["model"])
    times, cpu, hits, popular = [], [], 0, _recommend("nobody")["recommendations"]
    best_sellers = {item["item"] for item in popular}
    popular_hits = 0
    for user in asked:
        busy = time.process_time()
        answer, took = _timed(lambda user=user: _recommend(f"u{user}"))
        times.append(took * 1000)
        cpu.append((time.process_time() - busy) * 1000)
        hidden = f"i{held_out[user]}"
        hits += hidden in {item["item"] for item in answer["recommendations"]}
        popular_hits += hidden in best_sellers
    first = [_in_new_process(path, kept_dir) for _ in range(_FIRST_ANSWERS)]
    return {
        **{name: model[name] for name in ("interactions", "users", "items")},
        "training_s": round(seconds, 2),
        "answer_ms": _percentiles(times),
        "answer_cpu_ms": _percentiles(cpu),
        "first_answer_of_a_process_ms": _percentiles(first),
        "held_out_item_in_top_10": round(hits / answers, 4),
        "held_out_item_in_10_most_popular": round(popular_hits / answers, 4),
    }


def _use(path: Path, kept_dir: Path) -> None:
    enter_run({"data": path})
    cache._directory.set(kept_dir)


def _recommend(user: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        recommend_items.run(recommend_items.Arguments(user=user, count=10))
    )
    return answer


def _timed(act: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = act()
    return result, time.perf_counter() - started


def _first_answer(path: Path, kept_dir: Path) -> float:
    _use(path, kept_dir)
    return _timed(lambda: _recommend("u1"))[1] * 1000


def _in_new_process(path: Path, kept_dir: Path) -> float:
    command = [sys.executable, "-m", __spec__.name, "--first", str(path), str(kept_dir)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _percentiles(times: list[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(times, p)), 2) for p in (50, 95, 99)}


if __name__ == "__main__":
    main()
