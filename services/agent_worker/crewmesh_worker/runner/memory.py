"""A crew's long-term memory in a run's process: CrewAI's, over records that came with the run.

Nothing of it is on a disk or outlives the run here. What a task changes goes to the worker
before the task's end does, and both are stored together. Remembering and recalling take no
call of a model: what is kept is what was said and what came out, and recall is a search.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import numpy as np
from crewai.memory.types import MemoryMatch, MemoryRecord, ScopeInfo, embed_texts
from crewai.memory.unified_memory import Memory
from pydantic import PrivateAttr

from crewmesh.v1.memory_pb2 import Memory as Kept
from crewmesh.v1.memory_pb2 import MemoryChanges
from crewmesh_worker.runner.embedding import EMBEDDER, embed
from crewmesh_worker.runner.text import storable

_MAX_CHARACTERS: Final = 2_000
# What shares less than this with a question has nothing to do with it.
_MIN_SIMILARITY: Final = 0.05
_EXPECTED: Final = "\nExpected result: "
_RESULT: Final = "\nResult: "
_ANSWER: Final = "Final Answer:"


class KeptRecords:
    """CrewAI's storage: records in this process, and a note of those that changed."""

    def __init__(self, kept: Iterable[Kept]) -> None:
        self._lock = threading.RLock()
        self._records: dict[str, MemoryRecord] = {}
        self._changed: set[str] = set()
        for memory in kept:
            record = _to_record(memory)
            self._records[record.id] = record

    def take_changes(self) -> MemoryChanges | None:
        """Return what has changed since the last call, if anything has."""
        with self._lock:
            changed, self._changed = self._changed, set()
            if not changed:
                return None
            return MemoryChanges(
                saved=[_to_kept(self._records[i]) for i in sorted(changed) if i in self._records],
                deleted=sorted(i for i in changed if i not in self._records),
            )

    def save(self, records: list[MemoryRecord]) -> None:
        """Add records, or put them in the place of those with their ids."""
        with self._lock:
            for record in records:
                self._records[record.id] = record
                self._changed.add(record.id)

    def update(self, record: MemoryRecord) -> None:
        """Put a record in the place of the one with its id."""
        self.save([record])

    def search(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """Return the records nearest to a vector, with their similarities."""
        query = np.asarray(query_embedding)
        scored = [
            (record, float(np.dot(query, np.asarray(record.embedding))))
            for record in self._select(scope_prefix, categories, metadata_filter)
            if record.embedding is not None and len(record.embedding) == len(query)
        ]
        near = [pair for pair in scored if pair[1] >= max(min_score, _MIN_SIMILARITY)]
        return sorted(near, key=lambda pair: pair[1], reverse=True)[:limit]

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Delete the records that fit all that is given; return how many."""
        with self._lock:
            found = [
                record.id
                for record in self._select(scope_prefix, categories, metadata_filter)
                if (record_ids is None or record.id in record_ids)
                and (older_than is None or record.created_at < older_than)
            ]
            for record_id in found:
                del self._records[record_id]
                self._changed.add(record_id)
            return len(found)

    def reset(self, scope_prefix: str | None = None) -> None:
        """Delete every record of a scope."""
        self.delete(scope_prefix)

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """Return a record by its id."""
        return self._records.get(record_id)

    def list_records(
        self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0
    ) -> list[MemoryRecord]:
        """Return records, newest first."""
        found = self._select(scope_prefix)
        return sorted(found, key=lambda r: r.created_at, reverse=True)[offset : offset + limit]

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """Return how many records a scope has."""
        return ScopeInfo(path=scope, record_count=self.count(scope))

    def list_scopes(self, parent: str = "/") -> list[str]:
        """Return the scopes that records have."""
        return sorted({record.scope for record in self._select(parent)} - {parent})

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """Return how many records each category has."""
        counts: dict[str, int] = {}
        for record in self._select(scope_prefix):
            for category in record.categories:
                counts[category] = counts.get(category, 0) + 1
        return counts

    def count(self, scope_prefix: str | None = None) -> int:
        """Return how many records a scope has."""
        return len(self._select(scope_prefix))

    async def asave(self, records: list[MemoryRecord]) -> None:
        """Save, as `save` does."""
        self.save(records)

    async def asearch(self, *args: Any, **kwargs: Any) -> list[tuple[MemoryRecord, float]]:
        """Search, as `search` does."""
        return self.search(*args, **kwargs)

    async def adelete(self, *args: Any, **kwargs: Any) -> int:
        """Delete, as `delete` does."""
        return self.delete(*args, **kwargs)

    def _select(
        self,
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> list[MemoryRecord]:
        prefix = (scope or "/").rstrip("/")
        with self._lock:
            return [
                record
                for record in self._records.values()
                if (not prefix or record.scope == prefix or record.scope.startswith(prefix + "/"))
                and (not categories or set(categories) & set(record.categories))
                and all(record.metadata.get(k) == v for k, v in (metadata or {}).items())
            ]


class RunMemory(Memory):
    """What a run's agents remember by. `said` is the message that the run answers, if any."""

    _records: KeptRecords = PrivateAttr()
    _said: str = PrivateAttr()

    def __init__(self, kept: Iterable[Kept], said: str = "") -> None:
        records = KeptRecords(kept)
        # A name only: no model is ever asked.
        super().__init__(llm="none", storage=records, embedder=embed)
        self._records, self._said = records, said

    def take_changes(self) -> MemoryChanges | None:
        """Return what was changed since the last call, once all that is under way is done."""
        self.drain_writes()
        return self._records.take_changes()

    def extract_memories(self, content: str) -> list[str]:
        """Return what is to be kept of a task, of which CrewAI gives all in one text."""
        start = content.find(_RESULT, max(0, content.find(_EXPECTED)))
        result = content[start + len(_RESULT) :] if start >= 0 else content
        # What an agent thinks before it answers is no memory.
        result = result.rpartition(_ANSWER)[2].strip() or result
        return [f"user: {self._said}\nanswer: {result}" if self._said else result]

    def recall(self, query: str, *args: Any, **kwargs: Any) -> list[MemoryMatch]:
        """Return the records nearest to a question; to the message, where a task holds it."""
        if self._said and self._said in query:
            query = self._said
        return super().recall(query, *args, **{**kwargs, "depth": "shallow"})

    def _encode_batch(
        self,
        contents: list[str],
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
        root_scope: str | None = None,
    ) -> list[MemoryRecord]:
        known = {record.content: record for record in self._records.list_records(limit=10_000)}
        texts = [storable(content)[:_MAX_CHARACTERS] for content in contents]
        now = datetime.utcnow()  # noqa: DTZ003 - CrewAI's records have times without a zone
        records = []
        for text, vector in zip(texts, embed_texts(embed, texts), strict=True):
            if not vector:
                continue
            old = known.get(text)
            record = MemoryRecord(
                id=old.id if old else str(uuid4()),
                content=text,
                scope=scope or "/",
                categories=categories or [],
                metadata=metadata or {},
                importance=self.default_importance if importance is None else importance,
                created_at=now,
                last_accessed=now,
                embedding=vector,
                source=source,
                private=private,
            )
            known[text] = record
            records.append(record)
        self._records.save(records)
        return records


def _to_record(kept: Kept) -> MemoryRecord:
    data = json.loads(kept.record_json)
    vector = np.frombuffer(kept.embedding, dtype="<f4").astype(float).tolist()
    if kept.embedder != EMBEDDER:
        vector = embed([kept.content])[0]
    return MemoryRecord.model_validate(
        {**data, "id": kept.id, "content": kept.content, "embedding": vector}
    )


def _to_kept(record: MemoryRecord) -> Kept:
    return Kept(
        id=record.id,
        content=record.content,
        record_json=storable(record.model_dump_json(exclude={"id", "content", "embedding"})),
        embedding=np.asarray(record.embedding, dtype="<f4").tobytes(),
        embedder=EMBEDDER,
        importance=record.importance,
    )
