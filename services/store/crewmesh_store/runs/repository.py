"""What can be done to runs, each a single statement of sql/runs.sql."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import psycopg
from google.protobuf.timestamp_pb2 import Timestamp
from uuid6 import uuid7

from crewmesh.common.errors import (
    ConflictError,
    CrewmeshError,
    ExhaustedError,
    InvalidInputError,
    NotFoundError,
    StateError,
)
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, run_pb2, run_store_pb2
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.messages import parse_id
from crewmesh_store.runs.messages import (
    event_from_row,
    run_from_row,
    run_id,
    status_name,
    tasks_from_events,
    worker_from_row,
)
from crewmesh_store.sessions.repository import SessionRepository

SQL = load_statements("runs")

# Messages of a session that may wait for their answers at once.
MAX_OPEN_TURNS: Final = 20


@dataclass(frozen=True)
class Created:
    """What came of a request to create a run."""

    run: run_pb2.Run
    replayed: bool = False
    lease: run_store_pb2.Lease | None = None


@dataclass(frozen=True)
class Appended:
    """What came of one append.

    `events` are those that this call stored, as they now stand in the log; `turn_ended` says
    that the session may go on with its next message.
    """

    result: run_store_pb2.AppendResult
    events: Sequence[run_pb2.RunEvent] = ()
    turn_ended: bool = False


class RunRepository:
    """Runs, leases and logs in Postgres."""

    def __init__(self, database: Database, lease_ttl: timedelta) -> None:
        self._database = database
        self._sessions = SessionRepository(database)
        self.lease_ttl = lease_ttl

    async def create(self, request: run_store_pb2.CreateRunRequest, identity: Identity) -> Created:
        """Record a run and its first event; lease it to the asking worker if nothing waits.

        With a message, that is recorded too, as the next of its session. Raises ConflictError
        (IDEMPOTENCY_KEY_REUSED) when the key stands for another request, NotFoundError when
        there is no such session, and ExhaustedError when too much waits already.
        """
        spec = request.spec
        key = spec.idempotency_key or None
        request_hash = _hash_of(spec)
        row = await self._database.fetch_one(
            SQL["create_run"],
            run_id=UUID(bytes=uuid7().bytes),
            org_id=identity.require_org(),
            crew=spec.crew,
            crew_version=request.crew_version,
            inputs=spec.inputs_json,
            max_attempts=spec.max_attempts,
            priority=spec.priority,
            timeout_seconds=spec.timeout_seconds,
            session_id=spec.session_id or None,
            created_by=identity.user_id,
            key=key,
            request_hash=request_hash,
            worker_id=request.worker_id or None,
            lease_ttl=self.lease_ttl,
            message=spec.message or None,
            conversation=parse_id(spec.session_id, "session") if spec.message else None,
            max_open_turns=MAX_OPEN_TURNS,
        )
        if row is not None:
            lease = await self._complete_lease(row) if row["status"] == "running" else None
            return Created(run_from_row(row), lease=lease)
        row = await self._database.fetch_one(
            SQL["find_idempotent_run"], org_id=identity.org_id, key=key
        )
        if row is None:
            raise await self._refusal_of(spec, identity)
        if row["request_hash"] != request_hash:
            raise ConflictError(
                "this Idempotency-Key was used for another request; send a new key",
                reason="IDEMPOTENCY_KEY_REUSED",
            )
        return Created(run_from_row(row), replayed=True)

    async def _refusal_of(self, spec: agent_pb2.RunSpec, identity: Identity) -> CrewmeshError:
        """Return why a run with a new key, or none, wasn't taken."""
        if spec.message:
            session = await self._sessions.get(spec.session_id, identity.org_id)
            if session is None:
                return NotFoundError(
                    f"there is no session {spec.session_id[:64]!r}", reason="SESSION_NOT_FOUND"
                )
            if session.open_turns >= MAX_OPEN_TURNS:
                return ExhaustedError(
                    f"{session.open_turns} messages of this session wait for their answers; "
                    "post the next one when some have been answered",
                    reason="SESSION_BUSY",
                    retry_after_seconds=5,
                )
        return ExhaustedError(
            "the queue of your organisation is full; try again when some runs have started",
            reason="QUEUE_FULL",
            retry_after_seconds=5,
        )

    async def _complete_lease(self, row: Row) -> run_store_pb2.Lease:
        lease = self._lease(row)
        if lease.run.turn:
            await self._sessions.add_history(lease)
        return lease

    async def claim(self, worker_ids: Sequence[str]) -> list[run_store_pb2.Lease]:
        """Lease queued runs to the workers named, one for each entry, as far as there are any."""
        rows = await self._database.fetch_after(
            SQL["lock_claims"],
            SQL["claim_runs"],
            worker_ids=list(worker_ids),
            lease_ttl=self.lease_ttl,
        )
        leases = {row["id"]: await self._complete_lease(row) for row in rows}
        again = [row["id"] for row in rows if row["attempt"] > 1]
        if again:
            for row in await self._database.fetch(SQL["read_checkpoints"], run_ids=again):
                leases[row["run_id"]].checkpoints.add(
                    task_index=row["task_index"], output=row["output"], waiting=row["waiting"]
                )
            for row in await self._database.fetch(SQL["read_effects"], run_ids=again):
                leases[row["run_id"]].effects.add(key=row["key"], result=row["result"])
        return list(leases.values())

    def _lease(self, row: Row) -> run_store_pb2.Lease:
        lease = run_store_pb2.Lease(
            run=run_from_row(row), epoch=row["epoch"], next_seq=row["last_seq"] + 1
        )
        lease.ttl.FromTimedelta(self.lease_ttl)
        if row["answer"] is not None:
            lease.answer.CopyFrom(run_store_pb2.HumanAnswer(**json.loads(row["answer"])))
        return lease

    async def append(self, appends: Sequence[run_store_pb2.Append]) -> list[Appended]:
        """Store each append whole or not at all; all that are accepted, in one transaction."""
        try:
            rows = await self._database.fetch(SQL["append_events"], **_append_parameters(appends))
        except psycopg.DataError as error:
            raise InvalidInputError(f"an event can't be stored: {error}") from error
        accepted = {str(row["id"]): row for row in rows}
        refused = [a.run_id for a in appends if a.run_id not in accepted]
        heads = {}
        if refused:
            found = await self._database.fetch(SQL["read_heads"], run_ids=refused)
            heads = {str(row["id"]): row for row in found}
        results: list[Appended] = []
        for append in appends:
            row = accepted.get(append.run_id)
            if row is None:
                results.append(Appended(_refusal(append, heads.get(append.run_id))))
                continue
            result = run_store_pb2.AppendResult(
                outcome=run_store_pb2.APPEND_OUTCOME_STORED, last_seq=row["last_seq"]
            )
            events = _numbered(append, row["attempt"])
            results.append(Appended(result, events, row["turn_ended"]))
        return results

    async def renew(
        self, request: run_store_pb2.RenewLeasesRequest
    ) -> run_store_pb2.RenewLeasesResponse:
        """Prolong a worker's leases; tell it which are lost and which are to be cancelled."""
        await self._database.fetch(
            SQL["see_worker"], id=request.worker_id, free_slots=request.free_slots
        )
        response = run_store_pb2.RenewLeasesResponse()
        response.ttl.FromTimedelta(self.lease_ttl)
        if not request.leases:
            return response
        rows = await self._database.fetch(
            SQL["renew_leases"],
            run_ids=[run_id(lease.run_id) for lease in request.leases],
            epochs=[lease.epoch for lease in request.leases],
            lease_ttl=self.lease_ttl,
        )
        renewed = {str(row["id"]): row["cancelled"] for row in rows}
        response.lost.extend(lease for lease in request.leases if lease.run_id not in renewed)
        response.cancelled.extend(lease for lease in request.leases if renewed.get(lease.run_id))
        return response

    async def record_effect(self, request: run_store_pb2.RecordEffectRequest) -> None:
        """Keep what a call did; raise StateError (LEASE_LOST) if the run is another's."""
        row = await self._database.fetch_one(
            SQL["record_effect"],
            run_id=run_id(request.run_id),
            epoch=request.epoch,
            key=request.effect.key,
            result=request.effect.result,
        )
        if row is None:
            raise StateError("the run's lease is not yours any more", reason="LEASE_LOST")

    async def take_back_expired(self) -> list[tuple[str, str]]:
        """Take runs from workers that went silent; return each one's id and new status."""
        return await self._take_back(None, None)

    async def take_back_from(self, worker_id: str, session_id: UUID) -> list[tuple[str, str]]:
        """Take the runs of a worker whose stream broke, unless it has opened another."""
        return await self._take_back(worker_id, session_id)

    async def _take_back(
        self, worker_id: str | None, session_id: UUID | None
    ) -> list[tuple[str, str]]:
        rows = await self._database.fetch(
            SQL["take_back_leases"], worker_id=worker_id, session_id=session_id
        )
        return [(str(row["id"]), row["status"]) for row in rows]

    async def expire_waiting(self) -> list[tuple[str, str]]:
        """End runs that waited too long for a person; return each one's id and new status."""
        rows = await self._database.fetch(SQL["expire_waiting"])
        return [(str(row["id"]), row["status"]) for row in rows]

    async def cancel(self, run: str, org_id: str, reason: str) -> Row | None:
        """Cancel, or ask the worker to; return the run's row, or None if it has ended or isn't."""
        return await self._database.fetch_one(
            SQL["cancel_run"], run_id=run_id(run), org_id=org_id, reason=reason
        )

    async def respond(self, run: str, identity: Identity, answer: dict[str, object]) -> Row | None:
        """Record a person's answer and queue the run; return None if it wasn't waiting."""
        return await self._database.fetch_one(
            SQL["respond_to_run"],
            run_id=run_id(run),
            org_id=identity.require_org(),
            answer=json.dumps(answer),
            payload=json.dumps({**answer, "by": identity.user_id}),
        )

    async def get(self, run: str, org_id: str, *, tasks: bool = False) -> run_pb2.Run | None:
        """Return a run of the organisation, with the state of its tasks if asked for."""
        statement = SQL["get_run_with_tasks"] if tasks else SQL["get_run"]
        row = await self._database.fetch_one(statement, run_id=run_id(run), org_id=org_id)
        if row is None:
            return None
        message = run_from_row(row)
        if tasks:
            message.tasks.extend(tasks_from_events(row["task_events"]))
        return message

    async def list_page(
        self,
        request: agent_pb2.ListRunsRequest,
        org_id: str,
        before_id: UUID | None,
        limit: int,
    ) -> list[run_pb2.Run]:
        """Return at most `limit` runs that pass the filters, newest first."""
        rows = await self._database.fetch(
            SQL["list_runs"],
            org_id=org_id,
            before_id=before_id,
            status=status_name(request.status),
            crew=request.crew or None,
            session_id=request.session_id or None,
            created_after=_moment(request, "created_after"),
            created_before=_moment(request, "created_before"),
            limit=limit,
        )
        return [run_from_row(row) for row in rows]

    async def read_events(self, run: str, after_seq: int, limit: int) -> list[run_pb2.RunEvent]:
        """Return at most `limit` of the run's events with a number above `after_seq`."""
        rows = await self._database.fetch(
            SQL["read_events"], run_id=run_id(run), after_seq=after_seq, limit=limit
        )
        return [event_from_row(run, row) for row in rows]

    async def ensure_event_partitions(self) -> None:
        """Make this week's partition of the log and the next one's, one replica at a time."""
        await self._database.fetch_after(SQL["lock_partitions"], SQL["ensure_event_partitions"])

    async def put_worker(self, hello: run_store_pb2.WorkerHello, session_id: UUID) -> None:
        """Record that a worker has opened a stream."""
        await self._database.fetch(
            SQL["put_worker"],
            id=hello.worker_id,
            address=hello.address,
            version=hello.version,
            slots=hello.slots,
            session_id=session_id,
        )

    async def list_workers(self) -> list[run_store_pb2.Worker]:
        """Return the workers seen in the last minute."""
        return [worker_from_row(row) for row in await self._database.fetch(SQL["list_workers"])]


def _hash_of(spec: agent_pb2.RunSpec) -> bytes:
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).digest()


def _datetime(moment: Timestamp) -> datetime:
    return moment.ToDatetime(tzinfo=UTC)


def _moment(request: agent_pb2.ListRunsRequest, field: str) -> datetime | None:
    return _datetime(getattr(request, field)) if request.HasField(field) else None  # type: ignore[arg-type]


def _numbered(append: run_store_pb2.Append, attempt: int) -> list[run_pb2.RunEvent]:
    """Fill in what the sender left out."""
    for seq, event in enumerate(append.events, append.first_seq):
        event.seq, event.run_id, event.attempt = seq, append.run_id, attempt
    return list(append.events)


def _refusal(append: run_store_pb2.Append, head: Row | None) -> run_store_pb2.AppendResult:
    """Say why an append wasn't stored now; one that was stored before is acknowledged again."""
    if head is None:
        return run_store_pb2.AppendResult(outcome=run_store_pb2.APPEND_OUTCOME_LEASE_LOST)
    last = append.first_seq + len(append.events) - 1
    if head["epoch"] == append.epoch and last <= head["last_seq"]:
        outcome = run_store_pb2.APPEND_OUTCOME_STORED
    elif head["epoch"] != append.epoch or head["status"] != "running":
        outcome = run_store_pb2.APPEND_OUTCOME_LEASE_LOST
    else:
        outcome = run_store_pb2.APPEND_OUTCOME_OUT_OF_ORDER
    return run_store_pb2.AppendResult(outcome=outcome, last_seq=head["last_seq"])


def _append_parameters(appends: Sequence[run_store_pb2.Append]) -> dict[str, list[object]]:
    """Spread the appends into one array for each column."""
    columns: dict[str, list[object]] = {name: [] for name in _APPEND_COLUMNS}

    def add(**values: object) -> None:
        for name, value in values.items():
            columns[name].append(value)

    for append in appends:
        run = run_id(append.run_id)
        change = append.transition
        succeeded = change.status == run_pb2.RUN_STATUS_SUCCEEDED
        add(
            run_ids=run,
            epochs=append.epoch,
            first_seqs=append.first_seq,
            counts=len(append.events),
            statuses=status_name(change.status),
            outputs=change.output if succeeded else None,
            output_jsons=change.output_json or None,
            error_codes=change.error.code or None,
            error_messages=change.error.message or None,
            prompt_tokens=change.usage.prompt_tokens,
            completion_tokens=change.usage.completion_tokens,
            total_tokens=change.usage.total_tokens,
            model_calls=change.usage.model_calls,
            waits=change.wait.ToTimedelta(),
        )
        for seq, event in enumerate(append.events, append.first_seq):
            add(
                event_run_ids=run,
                event_seqs=seq,
                event_ats=_datetime(event.at),
                event_types=event.type,
                event_tasks=event.task,
                event_agents=event.agent,
                event_payloads=event.payload_json,
            )
        for checkpoint in append.checkpoints:
            add(
                checkpoint_run_ids=run,
                checkpoint_tasks=checkpoint.task_index,
                checkpoint_outputs=checkpoint.output,
                checkpoint_waitings=checkpoint.waiting,
            )
        for memory in append.memories.saved:
            add(
                memory_run_ids=run,
                memory_ids=parse_id(memory.id, "memory"),
                memory_contents=memory.content,
                memory_records=memory.record_json,
                memory_embeddings=memory.embedding,
                memory_embedders=memory.embedder,
                memory_importances=memory.importance,
            )
        for forgotten in append.memories.deleted:
            add(forgotten_run_ids=run, forgotten_ids=parse_id(forgotten, "memory"))
    return columns


_APPEND_COLUMNS = (
    "run_ids", "epochs", "first_seqs", "counts", "statuses", "outputs", "output_jsons",
    "error_codes", "error_messages", "prompt_tokens", "completion_tokens", "total_tokens",
    "model_calls", "waits", "event_run_ids", "event_seqs", "event_ats", "event_types", "event_tasks",
    "event_agents", "event_payloads", "checkpoint_run_ids", "checkpoint_tasks",
    "checkpoint_outputs", "checkpoint_waitings", "memory_run_ids", "memory_ids", "memory_contents",
    "memory_records", "memory_embeddings", "memory_embedders", "memory_importances",
    "forgotten_run_ids", "forgotten_ids",
)  # fmt: skip
