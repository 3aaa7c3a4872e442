"""A second gateway of a mesh, which tests may kill."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.conftest import until
from tests.e2e.conftest import Mesh


class Gateway:
    """One that is always at the same address, while it lives."""

    def __init__(self, mesh: Mesh, ready_file: Path, **settings: str) -> None:
        """`{url}` in a setting is the gateway's own address."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready_file = ready_file
        self._environment = {
            **mesh.services()["gateway"].environ(),
            "CREWMESH_PORT": str(self.port),
            "CREWMESH_READY_FILE": str(ready_file),
            **{name: value.replace("{url}", self.url) for name, value in settings.items()},
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crewmesh_gateway", env=self._environment
        )

        async def is_ready() -> bool:
            return self._ready_file.exists()

        await until(is_ready, 60)

    async def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def second_gateway(mesh: Mesh, directory: Path, **settings: str) -> AsyncIterator[Gateway]:
    """Serve another gateway of the same mesh."""
    gateway = Gateway(mesh, directory / "second-gateway.json", **settings)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.kill()
