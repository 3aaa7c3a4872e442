"""What crews remember, on its way between runners and the store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import IdentitySigner
from crewmesh.v1 import memory_pb2, run_store_pb2, session_store_pb2, session_store_pb2_grpc

_CALL_SECONDS: Final = 10.0
_MAX_RECORDS: Final = 500
_MAX_CONTENT_BYTES: Final = 8_000
_MAX_RECORD_BYTES: Final = 4_000
_MAX_EMBEDDING_BYTES: Final = 4_096


class Memories:
    """Reads what runs may remember."""

    def __init__(
        self, store: session_store_pb2_grpc.SessionStoreServiceAsyncStub, signer: IdentitySigner
    ) -> None:
        self._store = store
        self._signer = signer

    async def read(self, lease: run_store_pb2.Lease) -> list[memory_pb2.Memory]:
        """Return the records of a run's session, or of its crew; raise CrewmeshError."""
        with rpc_errors():
            answer = await self._store.ReadMemories(
                session_store_pb2.ReadMemoriesRequest(run_id=lease.run.id, epoch=lease.epoch),
                metadata=self._signer.metadata(),
                timeout=_CALL_SECONDS,
            )
        return list(answer.memories)


def checked(changes: memory_pb2.MemoryChanges) -> memory_pb2.MemoryChanges:
    """Return what of a runner's changes can be stored: it isn't trusted."""
    return memory_pb2.MemoryChanges(
        saved=[memory for memory in changes.saved if _is_storable(memory)][:_MAX_RECORDS],
        deleted=[record for record in changes.deleted if _is_id(record)][:_MAX_RECORDS],
    )


def merged(changes: Iterable[memory_pb2.MemoryChanges]) -> memory_pb2.MemoryChanges | None:
    """Return several changes, one after another, as one; None where there are none."""
    saved: dict[str, memory_pb2.Memory] = {}
    deleted: dict[str, None] = {}
    for change in changes:
        for record in change.deleted:
            saved.pop(record, None)
            deleted[record] = None
        for memory in change.saved:
            deleted.pop(memory.id, None)
            saved[memory.id] = memory
    if not saved and not deleted:
        return None
    return memory_pb2.MemoryChanges(saved=saved.values(), deleted=deleted)


def _is_storable(memory: memory_pb2.Memory) -> bool:
    try:
        is_object = isinstance(json.loads(memory.record_json), dict)
    except ValueError:
        is_object = False
    return (
        is_object
        and _is_id(memory.id)
        and "\x00" not in memory.content + memory.embedder
        and "\\u0000" not in memory.record_json
        and len(memory.content.encode()) <= _MAX_CONTENT_BYTES
        and len(memory.record_json.encode()) <= _MAX_RECORD_BYTES
        and len(memory.embedding) <= _MAX_EMBEDDING_BYTES
        and len(memory.embedder) <= 100
        and 0 <= memory.importance <= 1
    )


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
