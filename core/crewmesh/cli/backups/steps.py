"""What a person sees while a backup is written or restored."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from crewmesh.cli.backups.archive import Advance
from crewmesh.cli.console import stderr, tell
from crewmesh.cli.errors import CliError
from crewmesh.cli.text import duration, size

P = ParamSpec("P")
T = TypeVar("T")


class Steps:
    """One step after another: at a terminal a bar, elsewhere a line when it is done."""

    def __init__(self) -> None:
        self._console = stderr()
        self._given_up = threading.Event()

    async def in_thread(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Do the work in a thread; cancelled, have it end at its next `advance`."""
        working = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **options))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            self._given_up.set()
            await asyncio.gather(working, return_exceptions=True)
            raise

    @contextlib.contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """Show a step; what the context gives counts bytes, of `total` where that is known."""
        began, done = time.monotonic(), 0
        with self._bar(title, total) as show:

            def advance(count: int) -> None:
                nonlocal done
                if self._given_up.is_set():
                    raise CliError("given up")
                done += count
                show(count)

            yield advance
        took = duration(time.monotonic() - began)
        tell(f"{title}: {size(done)} in {took}" if done else f"{title}: {took}")

    @contextlib.contextmanager
    def _bar(self, title: str, total: int | None) -> Iterator[Advance]:
        if not self._console.is_terminal:
            yield lambda _: None
            return
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn()
        with Progress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task(title, total=total)
            yield lambda count: progress.advance(bar, count)
