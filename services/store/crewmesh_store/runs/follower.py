"""What other replicas append to the runs that are watched here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh_store.runs.hub import EventHub
from crewmesh_store.runs.repository import RunRepository

log = structlog.get_logger(__name__)

# Runs whose wake-ups got lost are found this much later.
_LOOK_SECONDS: Final = 2.0


class Follower:
    """Reads it once for all watchers, and for all runs that changed since the last reading.

    So what a wake-up costs doesn't grow with the watchers, and under load there is one
    statement where each watcher would have had its own.
    """

    def __init__(self, runs: RunRepository, hub: EventHub) -> None:
        self._runs = runs
        self._hub = hub
        self._changed: set[str] = set()
        self._has_changed = asyncio.Event()

    def changed(self, runs: Iterable[str]) -> None:
        """Note that there is more of those runs to read."""
        self._changed.update(run for run in runs if self._hub.is_watched(run))
        if self._changed:
            self._has_changed.set()

    async def run(self) -> None:
        """Read and publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_everywhere())
            group.create_task(self._follow())

    async def _look_everywhere(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.changed(self._hub.watched)

    async def _follow(self) -> None:
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            runs, self._changed = self._changed, set()
            heads = {run: self._hub.head(run) for run in runs}
            known = {run: head for run, head in heads.items() if head is not None}
            try:
                found = await self._runs.read_new_events(known) if known else {}
            except CrewmeshError as error:
                log.warning("can't read what other replicas appended", reason=error.message)
                found = {run: [] for run in known}
            for run, events in found.items():
                self._hub.publish(run, events)
            for run in runs - known.keys():
                self._hub.publish(run, ())
