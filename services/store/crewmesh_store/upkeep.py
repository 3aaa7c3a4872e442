"""What every replica does from time to time; that several do it at once does no harm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import structlog

from crewmesh.common.errors import CrewmeshError

log = structlog.get_logger(__name__)


async def repeat(
    work: Callable[[], Awaitable[object]], every_seconds: float, *, pause_first: bool = False
) -> None:
    """Do `work` until cancelled. What can't be done now is logged, and done the next time."""
    if pause_first:
        await asyncio.sleep(every_seconds)
    while True:
        try:
            await work()
        except (CrewmeshError, psycopg.Error) as error:
            reason = str(error.__cause__ or error)
            log.warning("upkeep goes on later", what=work.__qualname__, reason=reason)
        await asyncio.sleep(every_seconds)
