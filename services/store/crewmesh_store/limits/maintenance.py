"""What any replica does for limits from time to time; doing it twice does no harm."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh_store.limits.repository import LimitRepository

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS: Final = 60.0


async def forget_request_counts(limits: LimitRepository) -> None:
    """Delete counts of requests that say nothing any more, until cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL_SECONDS)
        try:
            await limits.forget_request_counts()
        except CrewmeshError as error:
            log.warning("can't forget old counts of requests", reason=error.message)
