"""Bare CrewAI: `crew.kickoff()` in one process, and in one process for each core."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.crew import LONG_TOPIC, TOPIC, build_crew, count_chunks
from tests.benchmarks.measure import WARM_UP_SECONDS, Result, private_mb

_CONTEXT = multiprocessing.get_context("spawn")


class _Process:
    """A process that runs the crew whenever it is told to."""

    def __init__(self) -> None:
        self._ours, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(theirs,))
        self.process.start()

    def ask(self, command: str, *arguments: Any) -> None:
        self._ours.send((command, *arguments))

    def answer(self) -> Any:
        return self._ours.recv()

    def stop(self) -> None:
        self.ask("stop")
        self.process.join()


def _serve(connection: Connection) -> None:
    # CrewAI's files are shared between processes unless each has a place of its own.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as own:
        os.environ["CREWAI_STORAGE_DIR"] = own
        crew = build_crew()
        while True:
            match connection.recv():
                case ("latencies", times):
                    connection.send([_timed(crew) for _ in range(times)])
                case ("count", seconds):
                    end, count = time.perf_counter() + seconds, 0
                    while time.perf_counter() < end:
                        crew.kickoff(inputs={"topic": TOPIC})
                        count += 1
                    connection.send(count)
                case ("chunks",):
                    start = time.perf_counter()
                    chunks = count_chunks(crew, {"topic": LONG_TOPIC})
                    connection.send(chunks / (time.perf_counter() - start))
                case _:
                    return


def _timed(crew: Any) -> float:
    start = time.perf_counter()
    crew.kickoff(inputs={"topic": TOPIC})
    return (time.perf_counter() - start) * 1000


def measure_processes(count: int, seconds: float, times: int) -> Result:
    """Measure `count` processes that share nothing; `seconds` for the load, `times` for latency."""
    processes = [_Process() for _ in range(count)]
    try:
        first = processes[0]
        first.ask("latencies", times)
        warm = first.answer()[times // 4 :]
        first.ask("chunks")
        first.answer()
        first.ask("chunks")
        chunks_per_second = first.answer()
        for duration in (WARM_UP_SECONDS, seconds):
            for process in processes:
                process.ask("count", duration)
            counts = [process.answer() for process in processes]
        memory = statistics.mean(
            private_mb(psutil.Process(process.process.pid)) for process in processes
        )
    finally:
        for process in processes:
            process.stop()
    return Result(
        c1_p50_ms=statistics.median(warm),
        c16_runs_per_s=sum(counts) / seconds,
        private_mb_per_run=memory,
        chunk_events_per_s=chunks_per_second,
    )
