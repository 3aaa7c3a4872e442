"""What is measured, and the load that measures it."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

WARM_UP_SECONDS = 3.0


def now() -> str:
    """Return the time as reports tell it: in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write_report(path: Path, results: dict[str, Any], **machine: str) -> None:
    """Write and print results as JSON, with when and on what `machine` they were measured."""
    report = {
        "at": now(),
        "machine": {
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            **machine,
        },
        "results": results,
    }
    text = json.dumps(report, indent=2) + "\n"
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


@dataclass
class Result:
    """One subject's figures; None where a figure doesn't apply to it."""

    c1_p50_ms: float | None = None
    c16_runs_per_s: float | None = None
    private_mb_per_run: float | None = None
    cancel_p50_ms: float | None = None
    cancel_p99_ms: float | None = None
    chunk_events_per_s: float | None = None

    def rounded(self) -> dict[str, float | None]:
        """Return the figures to one decimal."""
        return {
            name: None if value is None else round(value, 1) for name, value in asdict(self).items()
        }


async def latency_p50_ms(run: Callable[[], Awaitable[None]], times: int) -> float:
    """Return the median time of `run`, one after another, after a warm-up."""
    await _repeat_for(run, WARM_UP_SECONDS)
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await run()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


async def runs_per_second(
    run: Callable[[], Awaitable[None]], concurrency: int, seconds: float
) -> float:
    """Return how many runs end in a second when `concurrency` callers never pause."""
    await asyncio.gather(*(_repeat_for(run, WARM_UP_SECONDS) for _ in range(concurrency)))
    start = time.perf_counter()
    counts = await asyncio.gather(*(_repeat_for(run, seconds) for _ in range(concurrency)))
    return sum(counts) / (time.perf_counter() - start)


async def _repeat_for(run: Callable[[], Awaitable[None]], seconds: float) -> int:
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        await run()
        count += 1
    return count


def private_mb(process: psutil.Process) -> float:
    """Return the memory that would be free if only this process ended."""
    return float(process.memory_full_info().uss) / 2**20


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the value below which `fraction` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]
