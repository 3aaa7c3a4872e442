"""Measures the hand-written wrapper."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time

import aiohttp
import psutil

from tests.benchmarks.crew import LONG_TOPIC, QUIET, TOPIC
from tests.benchmarks.measure import Result, latency_p50_ms, private_mb, runs_per_second


async def measure_wrapper(seconds: float, times: int) -> Result:
    """Measure the wrapper under uvicorn, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as storage:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "uvicorn", "tests.benchmarks.wrapper_app:app",
            "--port", str(port), "--log-level", "critical",
            env={**os.environ, **QUIET, "CREWAI_STORAGE_DIR": storage},
        )  # fmt: skip
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
                await _started(client)
                return await _measure(client, psutil.Process(server.pid), seconds, times)
        finally:
            server.terminate()
            await server.wait()


async def _started(client: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with client.get("/openapi.json"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)


async def _measure(
    client: aiohttp.ClientSession, server: psutil.Process, seconds: float, times: int
) -> Result:
    async def run() -> None:
        async with client.post("/run", json={"topic": TOPIC}) as response:
            response.raise_for_status()
            await response.read()

    latency = await latency_p50_ms(run, times)
    idle = private_mb(server)
    load = asyncio.create_task(runs_per_second(run, 16, seconds))
    peak = idle
    while not load.done():
        peak = max(peak, private_mb(server))
        await asyncio.wait({load}, timeout=0.5)
    await _stream(client)
    start = time.perf_counter()
    chunks = await _stream(client)
    return Result(
        c1_p50_ms=latency,
        c16_runs_per_s=load.result(),
        private_mb_per_run=(peak - idle) / 16,
        chunk_events_per_s=chunks / (time.perf_counter() - start),
    )


async def _stream(client: aiohttp.ClientSession) -> int:
    chunks = 0
    async with client.post("/stream", json={"topic": LONG_TOPIC}) as response:
        async for line in response.content:
            chunks += line.startswith(b"data: ")
    return chunks
