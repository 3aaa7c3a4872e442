"""Where a run is shown while it goes on: a terminal, a log, or a program."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from crewmesh.cli.client import Event, watch
from crewmesh.cli.console import print_json_line, stderr, tell
from crewmesh.cli.live.plain import describe
from crewmesh.cli.live.state import RunState, apply
from crewmesh.client import AsyncClient

if TYPE_CHECKING:
    from rich.live import Live

_FRAMES_PER_SECOND = 12


class Display(Protocol):
    """Shows a run from its first event to its last."""

    def open(self, state: RunState) -> contextlib.AbstractContextManager[None]:
        """Show the run as long as the context lasts."""

    def show(self, before: RunState, after: RunState, event: Event) -> None:
        """Show what an event changed."""

    def note(self, text: str) -> None:
        """Tell the person something about the watching itself."""


def choose_display(client: AsyncClient, *, as_json: bool) -> Display:
    """Return the display that fits where our output goes."""
    if as_json:
        return JsonDisplay()
    return TerminalDisplay(client) if stderr().is_terminal else PlainDisplay()


async def follow(client: AsyncClient, state: RunState, display: Display) -> RunState:
    """Show the run's events as they come, and return its state at the end."""
    with display.open(state):
        async for event in watch(client, state.run_id):
            before, state = state, apply(state, event)
            display.show(before, state, event)
    return state


class JsonDisplay:
    """Every event as one line of JSON on stdout."""

    def open(self, state: RunState) -> contextlib.AbstractContextManager[None]:
        """Do nothing: a program needs no frame."""
        return contextlib.nullcontext()

    def show(self, before: RunState, after: RunState, event: Event) -> None:
        """Print the event as it came."""
        print_json_line(event)

    def note(self, text: str) -> None:
        """Print it apart from the events."""
        tell(text)


class PlainDisplay:
    """A line for each event that matters, on stderr."""

    def open(self, state: RunState) -> contextlib.AbstractContextManager[None]:
        """Do nothing: lines need no frame."""
        return contextlib.nullcontext()

    def show(self, before: RunState, after: RunState, event: Event) -> None:
        """Print the event's line, if it has one."""
        if line := describe(before, after, event):
            tell(line)

    def note(self, text: str) -> None:
        """Print it among the events."""
        tell(text)


class TerminalDisplay:
    """A view that is drawn anew several times a second, and stays when the run has ended."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._console = stderr()
        self._live: Live | None = None
        self._state: RunState | None = None

    @contextlib.contextmanager
    def open(self, state: RunState) -> Iterator[None]:
        """Draw until the context ends; then leave the finished view behind."""
        from rich.live import Live

        from crewmesh.cli.live.view import render_finished

        self._state = state
        live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False
        )
        try:
            with live:
                self._live = live
                drawing = asyncio.get_running_loop().create_task(self._draw_regularly())
                try:
                    yield
                finally:
                    drawing.cancel()
                    self._live = None
        finally:
            view = render_finished(self._state, self._now(), width=self._console.width)
            self._console.print(view)

    def show(self, before: RunState, after: RunState, event: Event) -> None:
        """Keep the state for the next frame."""
        self._state = after

    def note(self, text: str) -> None:
        """Print it above the view, where it stays."""
        self._console.print(text, markup=False)

    async def _draw_regularly(self) -> None:
        from crewmesh.cli.live.view import render

        while self._live is not None and self._state is not None:
            size = self._console.size
            view = render(self._state, self._now(), width=size.width, height=size.height)
            self._live.update(view, refresh=True)
            await asyncio.sleep(1 / _FRAMES_PER_SECOND)

    def _now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._client.clock_offset_seconds)
