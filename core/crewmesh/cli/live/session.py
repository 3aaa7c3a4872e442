"""Watching a run with a person who may press Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from crewmesh.cli.errors import CliError, ExitStatus
from crewmesh.cli.live.display import choose_display, follow
from crewmesh.cli.live.state import RunState, from_run
from crewmesh.client import AsyncClient, MeshError


async def watch_own_run(
    client: AsyncClient, run: Mapping[str, Any], tasks: list[Mapping[str, Any]], *, as_json: bool
) -> RunState:
    """Follow a run that was started here: Ctrl-C cancels it, a second one stops watching."""
    state, display = from_run(run, tasks), choose_display(client, as_json=as_json)
    following = asyncio.ensure_future(follow(client, state, display))
    cancelling: list[asyncio.Task[None]] = []

    async def cancel() -> None:
        try:
            await client.runs.cancel(state.run_id, reason="Ctrl-C at the command line")
        except MeshError as error:
            display.note(f"the run could not be cancelled: {error.what}")

    def interrupt() -> None:
        if cancelling:
            following.cancel()
            return
        display.note("Cancelling the run. Press Ctrl-C again to stop watching it.")
        cancelling.append(asyncio.ensure_future(cancel()))

    with _signals(interrupt, following.cancel):
        try:
            state = await following
        except asyncio.CancelledError:
            raise _stopped(run, "is being cancelled" if cancelling else "goes on") from None
        finally:
            for task in cancelling:
                task.cancel()
    return state


async def watch_run(client: AsyncClient, run: Mapping[str, Any], *, as_json: bool) -> RunState:
    """Follow any run from its first event: Ctrl-C stops watching, the run goes on."""
    display = choose_display(client, as_json=as_json)
    following = asyncio.ensure_future(follow(client, from_run(run, run["tasks"]), display))
    with _signals(following.cancel, following.cancel):
        try:
            return await following
        except asyncio.CancelledError:
            raise _stopped(run, "goes on") from None


def _stopped(run: Mapping[str, Any], whereas: str) -> CliError:
    return CliError(
        f"no longer watching run {run['id']}, which {whereas}",
        next_step=f"crewmesh runs watch {run['id']}",
    ).exiting(ExitStatus.INTERRUPTED)


@contextlib.contextmanager
def _signals(on_interrupt: Callable[[], object], on_end: Callable[[], object]) -> Iterator[None]:
    """Call one on Ctrl-C and the other on SIGTERM and SIGHUP, as long as the context lasts."""
    loop = asyncio.get_running_loop()
    handlers = {
        signal.SIGINT: on_interrupt,
        signal.SIGTERM: on_end,
        signal.SIGHUP: on_end,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
