"""How replicas of the store wake each other: LISTEN/NOTIFY, joined.

A wake-up says only *that* something happened; what happened is in the tables. So one
that is lost costs a poll interval, never an event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import structlog
from uuid6 import uuid7

from crewmesh_store.database import conninfo

log = structlog.get_logger(__name__)

_CHANNEL: Final = "crewmesh"
_INTERVAL_SECONDS: Final = 0.02
# Postgres refuses payloads of 8,000 bytes and more.
_RUNS_PER_MESSAGE: Final = 150
_RECONNECT_SECONDS: Final = 1.0


@dataclass
class Wakeup:
    """What other replicas are told at once."""

    runs: set[str] = field(default_factory=set)
    queued: bool = False
    # (worker, run, epoch) of runs that are to be cancelled.
    cancels: list[tuple[str, str, int]] = field(default_factory=list)


class Wakeups:
    """Sends at most 50 messages a second, whatever the load, and receives others'."""

    def __init__(self, database_url: str, on_wakeup: Callable[[Wakeup], None]) -> None:
        self._conninfo = conninfo(database_url)
        self._on_wakeup = on_wakeup
        self._replica = str(uuid7())
        self._pending = Wakeup()
        self._has_pending = asyncio.Event()

    def run_changed(self, run_id: str) -> None:
        """Wake those who watch the run at another replica."""
        self._pending.runs.add(run_id)
        self._has_pending.set()

    def run_queued(self) -> None:
        """Wake the dispatchers of other replicas."""
        self._pending.queued = True
        self._has_pending.set()

    def cancel_requested(self, worker_id: str, run_id: str, epoch: int) -> None:
        """Tell the replica that the worker is attached to."""
        self._pending.cancels.append((worker_id, run_id, epoch))
        self._has_pending.set()

    async def run(self) -> None:
        """Send and receive until cancelled; connect again when Postgres comes back."""
        while True:
            try:
                async with (
                    await self._connect() as sender,
                    await self._connect() as listener,
                    asyncio.TaskGroup() as group,
                ):
                    group.create_task(self._send(sender))
                    group.create_task(self._listen(listener))
            except* (psycopg.Error, OSError) as errors:
                log.warning("wake-ups are off; polling", error=str(errors.exceptions[0]))
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)

    async def _send(self, connection: psycopg.AsyncConnection[Any]) -> None:
        while True:
            await self._has_pending.wait()
            self._has_pending.clear()
            pending, self._pending = self._pending, Wakeup()
            runs = sorted(pending.runs)
            for start in range(0, max(len(runs), 1), _RUNS_PER_MESSAGE):
                message = {
                    "from": self._replica,
                    "runs": runs[start : start + _RUNS_PER_MESSAGE],
                    "queued": pending.queued,
                    "cancels": pending.cancels if start == 0 else [],
                }
                await connection.execute(
                    "SELECT pg_notify(%s, %s)", (_CHANNEL, json.dumps(message))
                )
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def _listen(self, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(f"LISTEN {_CHANNEL}")
        async for notification in connection.notifies():
            message = json.loads(notification.payload)
            if message["from"] != self._replica:
                self._on_wakeup(
                    Wakeup(
                        set(message["runs"]),
                        message["queued"],
                        [(worker, run, epoch) for worker, run, epoch in message["cancels"]],
                    )
                )
