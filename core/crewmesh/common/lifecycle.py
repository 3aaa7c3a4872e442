"""What the start and the end of every service have in common."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

_COLLECT_SECONDS: Final = 60.0


def stop_requested() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    return stop


async def until_stopped(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Return when `stop` is set; raise what a task raised, should one end before."""
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in done - {stopping}:
        task.result()


def settle_memory() -> None:
    """Keep what start-up has made out of the garbage collector's sight, and call it less often.

    A service's heap is mostly modules and message classes that live as long as it does.
    Looking through all of it again and again costs several percent of its time. What came later
    is small, so all of it is looked through once a minute, in some ms: few objects may hold much,
    as a stream of gRPC's does that its reader has left (a cycle, and 64 KiB of what had come).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 5, 5)
    _collect_each_minute(asyncio.get_running_loop())


def _collect_each_minute(loop: asyncio.AbstractEventLoop) -> None:
    gc.collect()
    loop.call_later(_COLLECT_SECONDS, _collect_each_minute, loop)


def report_ready(path: Path | None, facts: Mapping[str, object]) -> None:
    """Write `facts` as JSON to `path` in one step, for whoever waits for the service."""
    if path is None:
        return
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(facts), encoding="utf-8")
    draft.replace(path)


def fail(message: str) -> NoReturn:
    """End the process with one clear line."""
    sys.stderr.write(f"crewmesh: {message}\n")
    raise SystemExit(1)
