"""Measures Crewmesh: the embedded mesh, over REST, with everything stored."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil

from tests.benchmarks.crew import LONG_TOPIC, TOPIC
from tests.benchmarks.measure import (
    Result,
    latency_p50_ms,
    percentile,
    private_mb,
    runs_per_second,
)

# A stream lasts as long as its run.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=60)
# Long enough that a run is certainly still at it when it is measured or cancelled.
_SLOW_MODEL = {"CREWMESH_OFFLINE_LATENCY_MS": "60000"}


@contextlib.asynccontextmanager
async def embedded_mesh(
    *options: str, **environment: str
) -> AsyncIterator[tuple[aiohttp.ClientSession, psutil.Process]]:
    """Start `crewmesh up` with these options and this environment; yield a client and its process."""
    with tempfile.TemporaryDirectory() as directory:
        mesh = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crewmesh.cli", "up",
            "--data-dir", directory, "--port", "0", "--grpc-port", "0", *options,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        address = Path(directory) / "address.json"
        try:
            async with asyncio.timeout(60):
                while not address.exists():
                    if mesh.returncode is not None:
                        raise RuntimeError("the mesh didn't start; its message is above")
                    await asyncio.sleep(0.1)
            key = (Path(directory) / "api-key").read_text(encoding="utf-8").strip()
            url = json.loads(address.read_text(encoding="utf-8"))["url"]
            headers = {"Authorization": f"Bearer {key}"}
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(
                url, headers=headers, connector=connector, timeout=_TIMEOUT
            ) as client:
                yield client, psutil.Process(mesh.pid)
        finally:
            if mesh.returncode is None:
                mesh.terminate()
                await mesh.wait()


async def measure_mesh(seconds: float, times: int) -> Result:
    """Measure the embedded mesh with one worker and its default settings."""
    result = Result()
    async with embedded_mesh() as (client, _):

        async def run() -> None:
            body = {"crew": "hello", "inputs": {"topic": TOPIC}}
            async with client.post("/v1/runs?wait=60", json=body) as response:
                run = await response.json()
                assert run["status"] == "succeeded", run

        result.c1_p50_ms = await latency_p50_ms(run, times)
        result.c16_runs_per_s = await runs_per_second(run, 16, seconds)
        await _chunks_per_second(client)
        result.chunk_events_per_s = await _chunks_per_second(client)
    async with embedded_mesh(**_SLOW_MODEL) as (client, mesh):
        result.private_mb_per_run = await _memory_of_running_runs(client, mesh)
        taken = [await _cancel_ms(client) for _ in range(times)]
        result.cancel_p50_ms = percentile(taken, 0.5)
        result.cancel_p99_ms = percentile(taken, 0.99)
    return result


async def _chunks_per_second(client: aiohttp.ClientSession) -> float:
    """Time one run of 1,000 chunks, from its start to its last event at an SSE client."""
    chunks = 0
    start = time.perf_counter()
    body = {"crew": "hello", "inputs": {"topic": LONG_TOPIC}}
    async with client.post("/v1/runs", json=body) as response:
        run_id = (await response.json())["id"]
    async with _events(client, run_id) as lines:
        async for line in lines:
            if line.startswith(b"data: ") and b'"llm.chunk"' in line:
                chunks += json.loads(line[6:])["payload"]["chunks"]
    return chunks / (time.perf_counter() - start)


@contextlib.asynccontextmanager
async def _events(
    client: aiohttp.ClientSession, run_id: str
) -> AsyncIterator[aiohttp.StreamReader]:
    headers = {"Accept": "text/event-stream"}
    async with client.get(
        f"/v1/runs/{run_id}/events", headers=headers, read_bufsize=2**22
    ) as response:
        yield response.content


async def _start_slow_run(client: aiohttp.ClientSession) -> str:
    """Start a run and return its id once its model is being called."""
    async with client.post("/v1/runs", json={"crew": "hello", "inputs": {}}) as response:
        run_id: str = (await response.json())["id"]
    async with _events(client, run_id) as lines:
        async for line in lines:
            if line.startswith(b"event: llm.started"):
                return run_id
    raise RuntimeError(f"run {run_id} ended before its model was called")


async def _cancel_ms(client: aiohttp.ClientSession) -> float:
    """Return the time from asking to cancel to the run being shown as cancelled."""
    run_id = await _start_slow_run(client)
    start = time.perf_counter()
    async with client.post(f"/v1/runs/{run_id}/cancel") as response:
        response.raise_for_status()
    async with _events(client, run_id) as lines:
        async for line in lines:
            if line.startswith(b"event: run.cancelled"):
                return (time.perf_counter() - start) * 1000
    raise RuntimeError(f"run {run_id} ended without being cancelled")


async def _memory_of_running_runs(client: aiohttp.ClientSession, mesh: psutil.Process) -> float:
    """Return the mean private memory of the processes of 8 runs under way, in MiB."""
    run_ids = await asyncio.gather(*(_start_slow_run(client) for _ in range(8)))
    runners = sorted(
        (private_mb(p) for p in mesh.children(recursive=True) if _is_runner(p)), reverse=True
    )
    for run_id in run_ids:
        async with client.post(f"/v1/runs/{run_id}/cancel") as response:
            response.raise_for_status()
    # Spare runners are among them; those that run something are the larger.
    return sum(runners[:8]) / 8


def _is_runner(process: psutil.Process) -> bool:
    """Tell a forked runner: its parent is the zygote, whose command line it shares."""
    try:
        parent = process.parent()
        return parent is not None and all(
            any("zygote" in part for part in p.cmdline()) for p in (process, parent)
        )
    except psutil.NoSuchProcess:
        return False
