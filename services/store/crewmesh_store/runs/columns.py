"""What is appended to logs, spread into one array for each column of sql/runs.sql."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh_store.messages import parse_id
from crewmesh_store.runs.messages import run_id, status_name

_COLUMNS = (
    "run_ids", "epochs", "first_seqs", "counts", "statuses", "outputs", "output_jsons",
    "error_codes", "error_messages", "prompt_tokens", "completion_tokens", "total_tokens",
    "model_calls", "cost_micros", "unpriced_calls", "waits", "event_run_ids", "event_seqs",
    "event_ats", "event_types", "event_tasks", "event_agents", "event_payloads",
    "checkpoint_run_ids", "checkpoint_tasks", "checkpoint_outputs", "checkpoint_waitings",
    "call_run_ids", "call_seqs", "call_ats", "call_models", "call_prompt_tokens",
    "call_completion_tokens", "call_total_tokens", "call_cost_micros", "memory_run_ids",
    "memory_ids", "memory_contents", "memory_records", "memory_embeddings", "memory_embedders",
    "memory_importances", "forgotten_run_ids", "forgotten_ids",
)  # fmt: skip

# With an output: the answer, or what a failed run had finished.
_WITH_OUTPUT = frozenset({run_pb2.RUN_STATUS_SUCCEEDED, run_pb2.RUN_STATUS_FAILED})


class _Columns:
    def __init__(self) -> None:
        self.values: dict[str, list[object]] = {name: [] for name in _COLUMNS}

    def add(self, **values: object) -> None:
        """Add a row to the columns named."""
        for name, value in values.items():
            self.values[name].append(value)


def append_columns(appends: Sequence[run_store_pb2.Append]) -> dict[str, list[object]]:
    """Return the parameters of `append_events` for these appends."""
    columns = _Columns()
    for append in appends:
        _add_run(columns, append)
        _add_events(columns, append)
        _add_calls(columns, append)
        _add_memories(columns, append)
    return columns.values


def _add_run(columns: _Columns, append: run_store_pb2.Append) -> None:
    change, calls = append.transition, append.model_calls
    columns.add(
        run_ids=run_id(append.run_id),
        epochs=append.epoch,
        first_seqs=append.first_seq,
        counts=len(append.events),
        statuses=status_name(change.status),
        outputs=(change.output or None) if change.status in _WITH_OUTPUT else None,
        output_jsons=change.output_json or None,
        error_codes=change.error.code or None,
        error_messages=change.error.message or None,
        prompt_tokens=sum(call.prompt_tokens for call in calls),
        completion_tokens=sum(call.completion_tokens for call in calls),
        total_tokens=sum(call.total_tokens for call in calls),
        model_calls=len(calls),
        cost_micros=sum(call.cost_micros for call in calls),
        unpriced_calls=sum(not call.HasField("cost_micros") for call in calls),
        waits=change.wait.ToTimedelta(),
    )


def _add_events(columns: _Columns, append: run_store_pb2.Append) -> None:
    run = run_id(append.run_id)
    for seq, event in enumerate(append.events, append.first_seq):
        columns.add(
            event_run_ids=run,
            event_seqs=seq,
            event_ats=_datetime(event.at),
            event_types=event.type,
            event_tasks=event.task,
            event_agents=event.agent,
            event_payloads=event.payload_json,
        )
    for checkpoint in append.checkpoints:
        columns.add(
            checkpoint_run_ids=run,
            checkpoint_tasks=checkpoint.task_index,
            checkpoint_outputs=checkpoint.output,
            checkpoint_waitings=checkpoint.waiting,
        )


def _add_calls(columns: _Columns, append: run_store_pb2.Append) -> None:
    run = run_id(append.run_id)
    for call in append.model_calls:
        columns.add(
            call_run_ids=run,
            call_seqs=append.first_seq + call.event,
            call_ats=_datetime(append.events[call.event].at),
            call_models=call.model,
            call_prompt_tokens=call.prompt_tokens,
            call_completion_tokens=call.completion_tokens,
            call_total_tokens=call.total_tokens,
            call_cost_micros=call.cost_micros if call.HasField("cost_micros") else None,
        )


def _add_memories(columns: _Columns, append: run_store_pb2.Append) -> None:
    run = run_id(append.run_id)
    for memory in append.memories.saved:
        columns.add(
            memory_run_ids=run,
            memory_ids=parse_id(memory.id, "memory"),
            memory_contents=memory.content,
            memory_records=memory.record_json,
            memory_embeddings=memory.embedding,
            memory_embedders=memory.embedder,
            memory_importances=memory.importance,
        )
    for forgotten in append.memories.deleted:
        columns.add(forgotten_run_ids=run, forgotten_ids=parse_id(forgotten, "memory"))


def _datetime(moment: Timestamp) -> datetime:
    return moment.ToDatetime(tzinfo=UTC)
