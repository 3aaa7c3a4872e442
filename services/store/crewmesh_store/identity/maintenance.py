"""What any replica does for tokens from time to time; doing it twice does no harm."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh_store.identity.sign_ins import SignIns
from crewmesh_store.identity.signing import KeyRing

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS: Final = 3600.0


async def keep_keys_fresh(keys: KeyRing, sign_ins: SignIns) -> None:
    """Make the next signing key in time and forget old tokens, until cancelled."""
    while True:
        try:
            await keys.rotate()
            await sign_ins.forget_old()
        except CrewmeshError as error:
            log.warning("can't renew the signing keys; trying again later", reason=error.message)
        await asyncio.sleep(_INTERVAL_SECONDS)
