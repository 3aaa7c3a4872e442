"""What the terminal shows while the mesh starts, serves and stops."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from crewmesh.cli.text import duration

_FRAMES_PER_SECOND = 12
_WAITED_FOR = {
    "postgres": "the database",
    "store": "keeps runs, events and files",
    "gateway": "answers REST",
}
_LINES = {
    "starting": "is starting",
    "ready": "is ready",
    "down": "is down",
    "stopped": "has stopped",
}


class MeshProgress:
    """A live list of what the start waits for; before and after, lines.

    Where the output is no terminal, everything is a line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        # By service: when it was ready, counted from the beginning.
        self._ready_at: dict[str, float | None] = {}
        self._live: Live | None = None
        self._spinner = Spinner("dots", style="cyan")

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Show the start as long as the context lasts."""
        self._began = time.monotonic()
        if not self._console.is_terminal:
            yield
            return
        with Live(self._render(), console=self._console, auto_refresh=False) as live:
            self._live = live
            # A task, not rich's own thread: services are forked meanwhile.
            drawing = asyncio.get_running_loop().create_task(self._draw_regularly(live))
            try:
                yield
            finally:
                drawing.cancel()
                live.update(self._render(), refresh=True)
                self._live = None

    def report(self, name: str, phase: str, detail: str) -> None:
        """Show that a service went into another phase; see `service.Report`.

        A project in phase preparing says what is done for it.
        """
        if phase == "preparing":
            self.line(f"{name} {detail}")
            return
        self._ready_at[name] = time.monotonic() - self._began if phase == "ready" else None
        if self._live is None and phase in _LINES:
            self.line(f"{name} {detail or _LINES[phase]}")

    def line(self, text: str) -> None:
        """Print a line with the time of day."""
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        # A terminal that is gone is no reason not to stop in order.
        with contextlib.suppress(OSError):
            self._console.print(Text.assemble((now, "dim"), "  ", text), soft_wrap=True)

    async def _draw_regularly(self, live: Live) -> None:
        while True:
            live.update(self._render(), refresh=True)
            await asyncio.sleep(1 / _FRAMES_PER_SECOND)

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 1))
        for name, seconds in self._ready_at.items():
            mark = self._spinner if seconds is None else Text("✔", style="green")
            what = _WAITED_FOR.get(name, "runs crews")
            took = Text("" if seconds is None else duration(seconds), style="dim")
            table.add_row(" ", mark, name, Text(what, style="dim"), took)
        return Group(table)
