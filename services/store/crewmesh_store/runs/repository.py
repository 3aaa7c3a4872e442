"""What can be done to runs, each a single statement of sql/runs.sql."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import psycopg
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
from crewmesh_store.budgets.messages import limit_columns
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.deliveries.secrets import webhook_columns
from crewmesh_store.messages import moment, parse_id
from crewmesh_store.runs.columns import append_columns
from crewmesh_store.runs.messages import (
    event_from_row,
    queue_from_row,
    run_from_row,
    run_id,
    status_name,
    tasks_from_events,
    webhook_from_json,
    worker_from_row,
)
from crewmesh_store.runs.search import Search
from crewmesh_store.sessions.repository import SessionRepository
from crewmesh_store.tenants.repository import TenantRepository
from crewmesh_store.tenants.vault import Vault

SQL = load_statements("runs")

# More is for a watcher to read, in pages that it can hold.
_NEW_EVENTS: Final = 100

_TRACEPARENT_CHARACTERS: Final = 55

# Messages of a session that may wait for their answers at once.
MAX_OPEN_TURNS: Final = 20


@dataclass(frozen=True)
class Created:
    """What came of a request to create a run."""

    run: run_pb2.Run
    replayed: bool = False
    lease: run_store_pb2.Lease | None = None


@dataclass(frozen=True)
class Stored:
    """What came of an append."""

    result: run_store_pb2.AppendResult
    # As they now stand in the log, for EventHub.publish; None where this call stored none.
    events: Sequence[run_pb2.RunEvent] | None = None
    # Whether a queued run may start now that couldn't before: this one, its session's next, or
    # one that waited for a limit of its organisation.
    makes_room: bool = False
    # Whether the run was cancelled instead of what the append's transition says.
    cancelled: bool = False


class RunRepository:
    """Runs, leases and logs in Postgres."""

    def __init__(
        self, database: Database, lease_ttl: timedelta, vault: Vault | None = None
    ) -> None:
        self._database = database
        self._sessions = SessionRepository(database)
        self._tenants = TenantRepository(database, vault or Vault(""))
        self.lease_ttl = lease_ttl
        self._vault = vault or Vault("")

    async def create(self, request: run_store_pb2.CreateRunRequest, identity: Identity) -> Created:
        """Record a run and its first event; lease it to the asking worker if nothing waits.

        With a message, that is recorded too, as the next of its session. Raises ConflictError
        (IDEMPOTENCY_KEY_REUSED) when the key stands for another request, NotFoundError when
        there is no such session, StateError (POLICY_CHANGED) when another policy is in force
        than the one that admitted it or (SECRETS_NOT_CONFIGURED) when a webhook's secret can't be
        kept, and ExhaustedError when too much waits already.
        """
        spec = request.spec
        key = spec.idempotency_key or None
        request_hash = _hash_of(spec)
        run, org_id = UUID(bytes=uuid7().bytes), identity.require_org()
        row = await self._database.fetch_one(
            SQL["create_run"],
            run_id=run,
            org_id=org_id,
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
            models=list(spec.models),
            retry_of=spec.retry_of or None,
            api_key_id=identity.api_key_id or None,
            **limit_columns(spec.budget),
            message=spec.message or None,
            conversation=parse_id(spec.session_id, "session") if spec.message else None,
            max_open_turns=MAX_OPEN_TURNS,
            **webhook_columns(spec.webhook, run, org_id, self._vault),
            policy_as_of=moment(request, "policy_as_of"),
            traceparent=request.traceparent[:_TRACEPARENT_CHARACTERS] or None,
        )
        if row is not None:
            lease = await self._complete_lease(row) if row["status"] == "running" else None
            return Created(run_from_row(row), lease=lease)
        row = await self._database.fetch_one(
            SQL["find_idempotent_run"], org_id=identity.org_id, key=key
        )
        if row is None:
            raise await self._refusal_of(request, identity)
        if row["request_hash"] != request_hash:
            raise ConflictError(
                "this Idempotency-Key was used for another request; send a new key",
                reason="IDEMPOTENCY_KEY_REUSED",
            )
        return Created(run_from_row(row), replayed=True)

    async def _refusal_of(
        self, request: run_store_pb2.CreateRunRequest, identity: Identity
    ) -> CrewmeshError:
        """Return why a run with a new key, or none, wasn't taken."""
        spec = request.spec
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
        policy = await self._tenants.get_policy(identity.require_org())
        if policy.as_of != request.policy_as_of:
            return StateError(
                "the organisation's policy was changed meanwhile; try again",
                reason="POLICY_CHANGED",
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
            run=run_from_row(row),
            epoch=row["epoch"],
            next_seq=row["last_seq"] + 1,
            traceparent=row["traceparent"] or "",
        )
        lease.ttl.FromTimedelta(self.lease_ttl)
        if row["answer"] is not None:
            lease.answer.CopyFrom(run_store_pb2.HumanAnswer(**json.loads(row["answer"])))
        terms = json.loads(row["terms"])
        lease.budgeted = terms["budgeted"]
        lease.policy_json = terms["policy"] or ""
        lease.secrets.update(self._vault.open_all(str(row["org_id"]), terms["secrets"] or ()))
        return lease

    async def append(self, appends: Sequence[run_store_pb2.Append]) -> list[Stored]:
        """Store each append whole or not at all; all that are accepted, in one transaction.

        Returns what came of each, in the same order.
        """
        try:
            rows = await self._database.fetch_by_one_plan(
                SQL["append_events"], **append_columns(appends)
            )
        except psycopg.DataError as error:
            raise InvalidInputError(f"an event can't be stored: {error}") from error
        accepted = {str(row["id"]): row for row in rows}
        refused = [a.run_id for a in appends if a.run_id not in accepted]
        heads = {}
        if refused:
            found = await self._database.fetch(SQL["read_heads"], run_ids=refused)
            heads = {str(row["id"]): row for row in found}
        return [
            _stored(append, accepted[append.run_id])
            if append.run_id in accepted
            else Stored(_refusal(append, heads.get(append.run_id)))
            for append in appends
        ]

    async def hand_back(self, lease: run_store_pb2.Lease) -> None:
        """Put a run back whose worker went away before its lease was sent; no failure of it."""
        payload = {"reason": "worker_lost", "worker_id": lease.run.worker_id}
        event = run_pb2.RunEvent(type="run.queued", payload_json=json.dumps(payload))
        event.at.GetCurrentTime()
        change = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_QUEUED)
        append = run_store_pb2.Append(
            run_id=lease.run.id,
            epoch=lease.epoch,
            first_seq=lease.next_seq,
            events=[event],
            transition=change,
        )
        await self.append([append])

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

    async def respond(
        self, run: str, identity: Identity, answer: dict[str, object], question_seq: int
    ) -> Row | None:
        """Record a person's answer and queue the run; return None if it wasn't waiting for it.

        `question_seq` is the number of the event that asked, or 0 for the one that asked last.
        """
        return await self._database.fetch_one(
            SQL["respond_to_run"],
            run_id=run_id(run),
            org_id=identity.require_org(),
            answer=json.dumps(answer),
            payload=json.dumps({**answer, "by": identity.user_id}),
            question_seq=question_seq,
        )

    async def was_answered_so(
        self, run: str, identity: Identity, answer: dict[str, object], question_seq: int
    ) -> bool:
        """Tell whether a question has got this very answer, from the same person."""
        if not question_seq:
            return False
        events, _ = await self.read_events(run, question_seq, limit=1, max_bytes=1)
        return bool(events) and (
            events[0].type == "input.received"
            and json.loads(events[0].payload_json) == {**answer, "by": identity.user_id}
        )

    async def get(self, run: str, org_id: str, *, tasks: bool = False) -> run_pb2.Run | None:
        """Return a run of the organisation, with the state of its tasks if asked for."""
        if tasks:
            found = await self.get_many([run_id(run)], org_id)
            return found[0] if found else None
        row = await self._database.fetch_one(SQL["get_run"], run_id=run_id(run), org_id=org_id)
        return None if row is None else run_from_row(row)

    async def get_many(self, runs: Sequence[UUID], org_id: str) -> list[run_pb2.Run]:
        """Return those of the runs that are the organisation's, with their tasks."""
        rows = await self._database.fetch(
            SQL["get_runs_with_tasks"], run_ids=list(runs), org_id=org_id
        )
        return [_with_tasks(row) for row in rows]

    async def list_of_crews(
        self, crews: Sequence[str], org_id: str, limit: int
    ) -> list[run_pb2.Run]:
        """Return at most `limit` runs of each crew, newest first."""
        rows = await self._database.fetch(
            SQL["list_runs_of_crews"], crews=list(crews), org_id=org_id, limit=limit
        )
        return [run_from_row(row) for row in rows]

    async def read_events_of(
        self,
        wanted: Iterable[tuple[UUID, str | None]],
        org_id: str,
        after_seq: int,
        limit: int,
        max_bytes: int,
        types: Sequence[str] = (),
    ) -> list[run_pb2.RunEvent]:
        """Return a page of each run's events, or of those of its task where one is named.

        Together they hold about `max_bytes` at most. Where types are named, others are left out.
        """
        once = list(dict.fromkeys(wanted))
        rows = await self._database.fetch(
            SQL["read_events_of_runs"],
            run_ids=[run for run, _ in once],
            tasks=[task for _, task in once],
            org_id=org_id,
            after_seq=after_seq,
            limit=limit,
            max_bytes=max_bytes // max(1, len(once)),
            types=list(types),
        )
        return [event_from_row(str(row["run_id"]), row) for row in rows]

    async def list_page(
        self,
        request: agent_pb2.ListRunsRequest,
        asking: Identity,
        before_id: UUID | None,
        limit: int,
    ) -> list[run_pb2.Run]:
        """Return at most `limit` runs that pass the filters, newest first."""
        search = Search.of(request.text) if request.text else None
        rows = await self._database.fetch(
            SQL["find_runs" if search else "list_runs"],
            **(asdict(search) if search else {}),
            org_id=asking.require_org(),
            before_id=before_id,
            status=status_name(request.status),
            crew=request.crew or None,
            session_id=request.session_id or None,
            created_by=asking.user_id if request.created_by == "me" else request.created_by or None,
            created_after=moment(request, "created_after"),
            created_before=moment(request, "created_before"),
            webhook=request.webhook or None,
            limit=limit,
        )
        return [run_from_row(row) for row in rows]

    async def read_events(
        self, run: str, after_seq: int, limit: int, max_bytes: int
    ) -> tuple[list[run_pb2.RunEvent], bool]:
        """Return the run's events with numbers above `after_seq`, and whether there are more.

        They are at most `limit`, and no more once their payloads make up `max_bytes`.
        """
        rows = await self._database.fetch(
            SQL["read_events"],
            run_id=run_id(run),
            after_seq=after_seq,
            limit=limit + 1,
            max_bytes=max_bytes,
        )
        events = [event_from_row(run, row) for row in rows[:limit]]
        return events, bool(rows) and rows[0]["found"] > len(events)

    async def read_new_events(self, heads: Mapping[str, int]) -> dict[str, list[run_pb2.RunEvent]]:
        """Return the events of several runs with numbers above each one's head, by run.

        Of a run with more than _NEW_EVENTS, none: its watchers are to read them in pages.
        """
        rows = await self._database.fetch(
            SQL["read_new_events"],
            run_ids=[run_id(run) for run in heads],
            heads=list(heads.values()),
            limit=_NEW_EVENTS + 1,
        )
        found: dict[str, list[run_pb2.RunEvent]] = {}
        for row in rows:
            run = str(row["run_id"])
            found.setdefault(run, []).append(event_from_row(run, row))
        return {run: new if len(new) <= _NEW_EVENTS else [] for run, new in found.items()}

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

    async def forget_worker(self, worker_id: str, session_id: UUID) -> None:
        """Take a worker that is gone from the fleet, unless it has opened another stream."""
        await self._database.fetch(SQL["forget_worker"], id=worker_id, session_id=session_id)

    async def list_workers(self) -> list[run_store_pb2.Worker]:
        """Return the workers that are attached; one that falls silent, for a minute more."""
        rows = await self._database.fetch(SQL["list_workers"], lease_ttl=self.lease_ttl)
        return [worker_from_row(row) for row in rows]

    async def read_queue(self, org_id: str) -> run_store_pb2.Queue:
        """Return how many of an organisation's runs wait, and how many are running."""
        row = await self._database.fetch_one(SQL["read_queue"], org_id=org_id)
        assert row is not None
        return queue_from_row(row)


def _hash_of(spec: agent_pb2.RunSpec) -> bytes:
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).digest()


def _stored(append: run_store_pb2.Append, row: Row) -> Stored:
    result = run_store_pb2.AppendResult(
        outcome=run_store_pb2.APPEND_OUTCOME_STORED, last_seq=row["last_seq"]
    )
    # Of a run that was ended here, the last event is in the log alone.
    events = [] if row["cancelled"] else _numbered(append, row["attempt"])
    return Stored(result, events, row["makes_room"], cancelled=row["cancelled"])


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


def _with_tasks(row: Row) -> run_pb2.Run:
    message = run_from_row(row)
    message.tasks.extend(tasks_from_events(row["task_events"]))
    if row["webhook"] is not None:
        message.webhook.CopyFrom(webhook_from_json(row["webhook"]))
    return message
