"""What ages out, and when.

Any replica does all of it, and doing it twice does no harm. A run goes whole, as soon as
its time has come: its row, its artifacts, its idempotency key. Its events go with their
week's partition, when no run of that week is left; those of a week that is past but has a
run left are deleted. A session goes when nothing was said in it for as long, with its messages
and memories.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from crewmesh_store.database import Database, load_statements
from crewmesh_store.files.objects import Objects, artifact_key

log = structlog.get_logger(__name__)

SQL = load_statements("retention")

# How long a request may be repeated under its key.
KEYS_KEPT: Final = timedelta(days=7)
_BATCH: Final = 200
# After a batch, so that what people wait for comes first.
_PAUSE_SECONDS: Final = 0.05


class Retention:
    """Deletes what nobody needs, and finished runs `keep` after their end (None: never)."""

    def __init__(self, database: Database, objects: Objects, keep: timedelta | None) -> None:
        self._database = database
        self._objects = objects
        self._keep = keep

    async def forget(self) -> dict[str, int]:
        """Delete all that is due now; return how many of what, where there were any.

        Raises UnavailableError when Postgres or the object store is away, or when others
        kept the log busy; what was deleted until then stays so.
        """
        now = datetime.now(UTC)
        # A run's key goes before the run: one without a run would promise what is gone.
        keys_kept = KEYS_KEPT if self._keep is None else min(KEYS_KEPT, self._keep)
        gone = {
            "idempotency_keys": await self._delete("idempotency_keys", before=now - keys_kept),
            "checkpoints": await self._delete("checkpoints"),
            "effects": await self._delete("effects"),
        }
        if self._keep is not None:
            before = now - self._keep
            gone["sessions"] = await self._delete("sessions", before=before)
            gone["memories"] = await self._delete("memories", before=before)
            gone["runs"] = await self._delete("runs", before=before)
            gone["model_calls"] = await self._delete("model_calls", before=before)
            # Before what may have to wait: it never does.
            gone["objects"] = await self._delete_objects()
            gone["partitions"] = await self._drop_partitions(before)
            gone["logs"] = await self._delete("events", before=before)
        if gone := {what: count for what, count in gone.items() if count}:
            log.info("aged out", **gone)
        return gone

    async def _delete(self, what: str, **parameters: Any) -> int:
        total: int = 0
        while True:
            row = await self._database.fetch_one(SQL[f"delete_{what}"], limit=_BATCH, **parameters)
            assert row is not None
            total += row["n"]
            if row["n"] < _BATCH:
                return total
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _drop_partitions(self, before: datetime) -> int:
        count = 0
        while True:
            row = await self._database.fetch_one(SQL["drop_event_partition"], before=before)
            assert row is not None
            if row["name"] is None:
                return count
            count += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _delete_objects(self) -> int:
        count = 0
        while rows := await self._database.fetch(SQL["list_deleted_artifacts"], limit=_BATCH):
            for row in rows:
                await self._objects.delete(artifact_key(row["org_id"], row["id"]))
            ids = [row["id"] for row in rows]
            await self._database.fetch(SQL["forget_deleted_artifacts"], ids=ids)
            count += len(rows)
        return count
