"""Webhooks in Postgres."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from crewmesh.v1 import delivery_pb2
from crewmesh_store.database import Database, load_statements
from crewmesh_store.deliveries.schedule import next_pause
from crewmesh_store.deliveries.secrets import open_secret, seal
from crewmesh_store.runs.messages import run_id
from crewmesh_store.tenants.vault import Vault

log = structlog.get_logger(__name__)

SQL = load_statements("deliveries")

_UNSEALED_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Claim:
    """A webhook that is to be posted now; `policy_json` is its tenant's, "" for none."""

    run_id: str
    org_id: str
    url: str
    secret: str
    tries: int
    policy_json: str


class DeliveryRepository:
    """Webhooks that are due, and their tries."""

    def __init__(self, database: Database, first_pause: timedelta, vault: Vault) -> None:
        self._database = database
        self._first_pause = first_pause
        self._vault = vault

    async def claim(self, limit: int, hold: timedelta) -> list[Claim]:
        """Return at most `limit` that are due, with their secrets opened.

        Nobody else gets them before `hold` is over. One whose secret can't be opened isn't sent
        unsigned: that counts as a try that failed.
        """
        claims = []
        for row in await self._database.fetch(SQL["claim_deliveries"], limit=limit, hold=hold):
            run, secret = str(row["run_id"]), open_secret(self._vault, row)
            if secret is None:
                await self._report_unopened(run, row["tries"])
                continue
            policy = row["policy"] or ""
            org_id = str(row["org_id"])
            claims.append(Claim(run, org_id, row["url"], secret, row["tries"], policy))
        return claims

    async def _report_unopened(self, run: str, tries: int) -> None:
        why = "its secret can't be opened: set the key that sealed it in CREWMESH_SECRETS_KEY"
        await self.report(delivery_pb2.ReportDeliveryRequest(run_id=run, tries=tries, error=why))

    async def report(self, report: delivery_pb2.ReportDeliveryRequest) -> None:
        """Record what came of a try; a late report of an earlier one changes nothing."""
        pause = None
        if 200 <= report.status < 300:
            status = "delivered"
        else:
            pause = None if report.final else next_pause(report.tries, self._first_pause)
            status = "failed" if pause is None else "due"
        await self._database.fetch(
            SQL["report_delivery"],
            run_id=run_id(report.run_id),
            tries=report.tries,
            status=status,
            last_status=report.status,
            last_error=report.error.replace("\x00", "\N{REPLACEMENT CHARACTER}"),
            pause=pause or timedelta(),
        )

    async def seal_all(self) -> None:
        """Seal every secret that is kept in clear; without a key the log says so."""
        while rows := await self._database.fetch(SQL["list_unsealed"], limit=_UNSEALED_AT_ONCE):
            if not self._vault.seals:
                log.warning("webhooks' secrets are kept in clear: set CREWMESH_SECRETS_KEY")
                return
            for row in rows:
                sealed = seal(self._vault, row["run_id"], str(row["org_id"]), row["secret"])
                await self._database.fetch(
                    SQL["seal_secret"],
                    run_id=row["run_id"],
                    secret=row["secret"],
                    key_id=sealed.key_id,
                    sealed=sealed.data,
                )
