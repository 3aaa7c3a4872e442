"""The whole mesh, as `crewmesh up` starts it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

ROOT = Path(__file__).parents[2]
CREWS = Path(__file__).parent / "crews"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"a secret of the tests").decode()


@dataclass
class Mesh:
    """A running mesh and a client of its REST interface."""

    url: str
    grpc: str
    api_key: str
    directory: Path
    process: asyncio.subprocess.Process
    http: aiohttp.ClientSession

    async def start_run(self, crew: str, headers: Any = None, **inputs: Any) -> dict[str, Any]:
        body = {"crew": crew, "inputs": inputs}
        async with self.http.post("/v1/runs", json=body, headers=headers) as response:
            assert response.status == 202, await response.text()
            run: dict[str, Any] = await response.json()
            return run

    async def get(self, path: str) -> Any:
        async with self.http.get(path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def get_all(self, *paths: str) -> list[int]:
        """Return the status of each path's answer."""
        statuses = []
        for path in paths:
            async with self.http.get(path) as response:
                statuses.append(response.status)
        return statuses

    def services(self) -> dict[str, psutil.Process]:
        """Return the processes of the gateway, the workers and the store, by name."""
        named = {}
        for process in psutil.Process(self.process.pid).children():
            if ready_file := process.environ().get("CREWMESH_READY_FILE"):
                named[Path(ready_file).stem] = process
        return named

    @contextlib.asynccontextmanager
    async def limits(self, **limits: Any) -> AsyncIterator[None]:
        """Limit the organisation for the length of an `async with` block."""
        before = await self.get("/v1/limits")
        try:
            await self._set_limits({**before, **limits})
            yield
        finally:
            await self._set_limits(before)

    async def _set_limits(self, limits: dict[str, Any]) -> None:
        async with self.http.put("/v1/limits", json=limits) as response:
            assert response.status == 200, await response.text()

    async def watch(self, run_id: str, after: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Yield events from one SSE connection, until it ends or the caller leaves."""
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        path = f"/v1/runs/{run_id}/events"
        async with self.http.get(path, headers=headers) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


@contextlib.asynccontextmanager
async def put(mesh: Mesh, path: str, body: dict[str, Any], after: Any) -> AsyncIterator[None]:
    """Set something of the organisation for a while."""
    async with mesh.http.put(path, json=body) as response:
        assert response.status == 200, await response.text()
    try:
        yield
    finally:
        if after is None:
            await mesh.http.delete(path)
        else:
            await mesh.http.put(path, json=after)


@contextlib.asynccontextmanager
async def running_mesh(
    directory: Path, *options: str, start_seconds: float = 180, **environment: str
) -> AsyncIterator[Mesh]:
    """Start `crewmesh up` and stop it with SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crewmesh.cli", "up",
        "--data-dir", str(directory), "--port", "0", "--grpc-port", "0", *options,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CREWMESH_CREWS_DIR": str(CREWS),
            # The tests' crews leave traces where the tests look for them.
            "CREWMESH_RUNNER_WRITABLE": tempfile.gettempdir(),
            "CREWMESH_RUNNER_BUILDER": "tests.e2e.crews.build:build_crew",
            **environment,
        },
    )  # fmt: skip
    address_file = directory / "address.json"
    try:
        async with asyncio.timeout(start_seconds):
            while not address_file.exists():
                assert process.returncode is None, "the mesh didn't start"
                await asyncio.sleep(0.05)
        address = json.loads(address_file.read_text(encoding="utf-8"))
        key = (directory / "api-key").read_text(encoding="utf-8").strip()
        async with aiohttp.ClientSession(
            address["url"], headers={"Authorization": f"Bearer {key}"}, read_bufsize=2**20
        ) as http:
            yield Mesh(address["url"], address["grpc"], key, directory, process, http)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@pytest.fixture(scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """One mesh with two workers for all tests that don't break it."""
    async with running_mesh(tmp_path_factory.mktemp("mesh"), "--workers", "2") as running:
        yield running


@pytest.fixture(scope="session")
async def private_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """One whose tools and webhooks may reach this machine, and that tries again soon."""
    async with running_mesh(
        tmp_path_factory.mktemp("private-mesh"),
        CREWMESH_PRIVATE_NETWORK="true",
        CREWMESH_RUNNER_PORTS="any",
        CREWMESH_WEBHOOK_RETRY_SECONDS="0.1",
        WEBHOOK_SECRET=WEBHOOK_SECRET,
    ) as running:
        yield running
