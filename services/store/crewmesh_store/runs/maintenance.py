"""What any replica does from time to time; doing it twice does no harm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh_store.budgets.repository import BudgetRepository
from crewmesh_store.runs.repository import RunRepository

log = structlog.get_logger(__name__)

_EXPIRY_SECONDS: Final = 1.0
_PARTITION_SECONDS: Final = 3600.0


async def expire(runs: RunRepository, on_expired: Callable[[str, str, str], None]) -> None:
    """Take runs from silent workers, and end those that nobody answered, until cancelled."""
    while True:
        await asyncio.sleep(_EXPIRY_SECONDS)
        try:
            leases = [(*run, "lease") for run in await runs.take_back_expired()]
            waits = [(*run, "wait") for run in await runs.expire_waiting()]
        except CrewmeshError as error:
            log.warning("can't look for what has expired", reason=error.message)
            continue
        for run_id, status, what in (*leases, *waits):
            log.warning("expired", run_id=run_id, status=status, what=what)
            on_expired(run_id, status, what)


async def make_partitions(runs: RunRepository) -> None:
    """Keep next week's partition of the log ready, until cancelled."""
    while True:
        await asyncio.sleep(_PARTITION_SECONDS)
        try:
            await runs.ensure_event_partitions()
        except CrewmeshError as error:
            log.warning("can't make the log's next partition", reason=error.message)


async def charge_lost_calls(budgets: BudgetRepository) -> None:
    """Count as spent what lost attempts have reserved, until cancelled."""
    while True:
        await asyncio.sleep(_EXPIRY_SECONDS)
        try:
            if count := await budgets.charge_lost():
                log.info("calls of lost attempts count as spent", calls=count)
        except CrewmeshError as error:
            log.warning("can't look for calls of lost attempts", reason=error.message)
