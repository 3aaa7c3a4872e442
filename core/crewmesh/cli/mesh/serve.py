"""`crewmesh up` from its first line to its last."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

from crewmesh.cli.console import stderr
from crewmesh.cli.errors import ExitStatus
from crewmesh.cli.mesh.demo import run_demo
from crewmesh.cli.mesh.embedded import EmbeddedMesh, MeshOptions
from crewmesh.cli.mesh.greeting import print_addresses, print_next_steps
from crewmesh.cli.mesh.progress import MeshProgress


class StopSignals:
    """SIGINT, SIGTERM or SIGHUP asks to stop; a second one asks not to wait."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.forced = asyncio.Event()

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catch them as long as the context lasts."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._receive)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _receive(self) -> None:
        (self.forced if self.requested.is_set() else self.requested).set()


async def serve(options: MeshOptions, *, demo: bool, exit_after_demo: bool) -> ExitStatus:
    """Run the mesh until a signal, or until the demo's end, and return the exit status."""
    os.umask(0o077)
    progress = MeshProgress(stderr())
    signals = StopSignals()
    with options.directory.locked(), signals.caught():
        mesh = EmbeddedMesh(options, progress.report)
        try:
            with progress.starting():
                started = await _unless_stopped(mesh.start(), signals)
            if not started:
                return ExitStatus.INTERRUPTED
            status = ExitStatus.OK
            if demo:
                status = await _show_demo(mesh, options, signals)
            if signals.requested.is_set():
                return status
            heading = "It ran here, and stops now:" if exit_after_demo else "Crewmesh is ready:"
            print_addresses(mesh, options.directory, heading=heading, with_key=demo)
            if exit_after_demo:
                return status
            print_next_steps(mesh, options.directory)
            await signals.requested.wait()
            return ExitStatus.OK
        finally:
            if signals.requested.is_set():
                progress.line("stopping: crews may finish first; Ctrl-C again stops at once")
            await mesh.stop(signals.forced)


async def _show_demo(mesh: EmbeddedMesh, options: MeshOptions, signals: StopSignals) -> ExitStatus:
    outcome: list[ExitStatus] = []

    async def run() -> None:
        outcome.append(await run_demo(mesh.connection, options.directory))

    await _unless_stopped(run(), signals)
    return outcome[0] if outcome else ExitStatus.INTERRUPTED


async def _unless_stopped(work: Coroutine[Any, Any, None], signals: StopSignals) -> bool:
    """Do the work to its end, and return True, or give it up when a signal comes first."""
    working = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(signals.requested.wait())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return False
