"""Sorts and sums up numbers, over a pool of processes where that is faster."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from crewmesh_worker.tools.registry import ToolError
from crewmesh_worker.tools.statistics import parts
from crewmesh_worker.tools.statistics.parts import Numbers, Part

# As measured (docs/benchmarks/statistics.md): what sorting and summing up takes for a number,
# what handing it over does, and how long it takes until processes are there.
_SECONDS_A_NUMBER: Final = 19e-9
_SECONDS_HANDED_OVER: Final = 4e-9
_SECONDS_TO_START: Final = 0.25
_MAX_PROCESSES: Final = 8


def processes_for(numbers: int, cores: int) -> int:
    """Return over how many processes it is done soonest; 1 is this one alone."""
    processes = min(cores, _MAX_PROCESSES)
    saved = numbers * _SECONDS_A_NUMBER * (1 - 1 / processes)
    spent = numbers * _SECONDS_HANDED_OVER + _SECONDS_TO_START
    return processes if saved > spent else 1


def sort_and_sum(
    numbers: Numbers, processes: int | None = None
) -> tuple[list[Numbers], list[Part]]:
    """Return the numbers as sorted parts, and what is known of each.

    `numbers` are changed. `processes` is by default what pays: 1 is this one alone.
    """
    count = processes or processes_for(len(numbers), len(os.sched_getaffinity(0)))
    if count == 1:
        return [numbers], [parts.sort_and_sum(numbers)]
    # In the run's directory, which is on tmpfs: the processes map it, nothing is copied to them.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        path = Path(directory, "numbers.npy")
        np.save(path, numbers, allow_pickle=False)
        bounds = np.linspace(0, len(numbers), count + 1).astype(int).tolist()
        summed = _in_pool(str(path), list(pairwise(bounds)))
        ordered = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        return [ordered[a:b] for a, b in pairwise(bounds)], summed


def _in_pool(path: str, ranges: Sequence[tuple[int, int]]) -> list[Part]:
    # Spawned: a fork of this process, which has threads, could find a lock held for ever. They
    # are of this process group, so a cancelled run takes them along.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(len(ranges), mp_context=context) as pool:
            done = [pool.submit(parts.sort_and_sum_file, path, *bounds) for bounds in ranges]
            return [future.result() for future in done]
    except (BrokenProcessPool, OSError) as error:
        raise ToolError(
            f"the processes for so many numbers can't do it: {error}. Memory is the usual cause: "
            "ask for fewer columns, or aggregate with query_sql"
        ) from error
