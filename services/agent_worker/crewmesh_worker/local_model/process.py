"""The worker's side of the local model: its process is started when needed, and again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
import time
from collections.abc import Collection
from typing import Final

import structlog

from crewmesh_worker.local_model.environment import KEY_VARIABLE, MODEL, URL_VARIABLE
from crewmesh_worker.local_model.settings import LocalModelSettings

log = structlog.get_logger(__name__)

_INHERITED: Final = (
    *("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ"),
    # Set where tests are measured only: see `make report`.
    "COVERAGE_PROCESS_CONFIG",
)
# A process that lived less long than this has failed to start.
_STEADY_SECONDS: Final = 10.0
_MAX_FAILURES: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.2
# Callers that wait for their connection while the process is (re)started.
_BACKLOG: Final = 128


class LocalModel:
    """One model server, as long as the worker lives; None of settings: it isn't installed.

    The worker holds the listening socket, so callers wait while the process starts anew.
    """

    def __init__(self, settings: LocalModelSettings | None) -> None:
        self._settings = settings
        self._key = secrets.token_urlsafe(32)
        # Bound from the start on, since runners are held to ports before they know of a run.
        self._listener = _bind() if settings is not None else None
        self.port: int | None = self._listener.getsockname()[1] if self._listener else None
        self._keeper: asyncio.Task[None] | None = None
        self.pid: int | None = None

    async def environment(self, models: Collection[str]) -> dict[str, str]:
        """Return how runs that use these models reach the local one, which is started.

        Empty where they don't use it, and where it isn't installed: the run then says so.
        """
        if MODEL not in models or self._settings is None:
            return {}
        if self._keeper is None or self._keeper.done():
            listener = self._listener or _bind(self.port or 0)
            self._listener = None
            listener.listen(_BACKLOG)
            self._keeper = asyncio.create_task(self._keep(self._settings, listener))
        return {URL_VARIABLE: f"http://127.0.0.1:{self.port}/v1", KEY_VARIABLE: self._key}

    async def stop(self) -> None:
        """End the process."""
        if self._listener is not None:
            self._listener.close()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self, settings: LocalModelSettings, listener: socket.socket) -> None:
        """Run the process again and again, until cancelled or until it can't be started."""
        failures = 0
        with contextlib.closing(listener):
            while failures < _MAX_FAILURES:
                began = time.monotonic()
                status = await self._run(settings, listener)
                failures = 0 if time.monotonic() - began > _STEADY_SECONDS else failures + 1
                log.error("the local model's process ended", status=status, failures=failures)
                await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**failures)
            # Callers are refused from here on, instead of waiting; the next run tries again.
            log.error("the local model can't be started; see the log above")

    async def _run(self, settings: LocalModelSettings, listener: socket.socket) -> int:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "crewmesh_worker.local_model.server"),
            *(str(listener.fileno()), settings.model_dump_json()),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            env=self._process_environment(),
            start_new_session=True,
        )
        self.pid = process.pid
        try:
            return await process.wait()
        finally:
            self.pid = None
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def _process_environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **inherited,
            KEY_VARIABLE: self._key,
            "CREWMESH_LOCAL_PARENT": str(os.getpid()),
            # Threads that spin while they wait for each other are a catastrophe on cores that
            # others need too: measured, a twentieth of the speed.
            "OMP_WAIT_POLICY": "passive",
            "GOMP_SPINCOUNT": "0",
        }


def _bind(port: int = 0) -> socket.socket:
    """Return a socket that has a port of this machine, and doesn't listen yet."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
