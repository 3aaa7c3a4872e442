"""What a run's log queues, sends and sends again, without a store."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh_worker.runner.text import MAX_CHARACTERS
from crewmesh_worker.runs.log import RunLog


class _Writer:
    """Sends nothing by itself."""

    def changed(self, run_log: RunLog, *, urgent: bool = False) -> None: ...


def open_log() -> RunLog:
    lease = run_store_pb2.Lease(run=run_pb2.Run(id="r1"), epoch=1, next_seq=3)
    return RunLog(lease, _Writer())  # type: ignore[arg-type]


def piece(call_id: str, text: str) -> run_pb2.RunEvent:
    payload = {"call_id": call_id, "text": text, "chunks": 1}
    return run_pb2.RunEvent(type="llm.chunk", task="t", payload_json=json.dumps(payload))


def other(name: str) -> run_pb2.RunEvent:
    return run_pb2.RunEvent(type="log", task="t", payload_json=json.dumps({"message": name}))


def sent_by(run_log: RunLog) -> list[tuple[str, dict[str, Any]]]:
    append = run_log.next_append()
    return [] if append is None else [(e.type, json.loads(e.payload_json)) for e in append.events]


async def test_pieces_of_an_answer_that_wait_become_one_event() -> None:
    run_log = open_log()
    for text in ("The ", "answer ", "is"):
        await run_log.add(piece("c1", text))
    await run_log.add(other("between"))
    await run_log.add(piece("c1", " 42"))
    await run_log.add(piece("c2", "Another"))
    assert sent_by(run_log) == [
        ("llm.chunk", {"call_id": "c1", "text": "The answer is", "chunks": 3}),
        ("log", {"message": "between"}),
        ("llm.chunk", {"call_id": "c1", "text": " 42", "chunks": 1}),
        ("llm.chunk", {"call_id": "c2", "text": "Another", "chunks": 1}),
    ]


async def test_no_event_gets_longer_than_one_may_be() -> None:
    run_log = open_log()
    for _ in range(3):
        await run_log.add(piece("c1", "x" * (MAX_CHARACTERS // 2)))
    assert [len(payload["text"]) for _, payload in sent_by(run_log)] == [
        MAX_CHARACTERS,
        MAX_CHARACTERS // 2,
    ]


async def test_a_piece_that_a_checkpoint_goes_with_stays_an_event_of_its_own() -> None:
    """They are stored together, so neither may come before the other."""
    run_log = open_log()
    await run_log.add(piece("c1", "The "))
    run_log.checkpoint(run_store_pb2.TaskCheckpoint(task_index=0, output=b"{}"))
    await run_log.add(piece("c1", "answer"))
    assert len(sent_by(run_log)) == 2


async def test_what_may_be_stored_is_sent_again_as_it_was() -> None:
    run_log = open_log()
    await run_log.add(piece("c1", "The "))
    first = sent_by(run_log)
    await run_log.add(piece("c1", "answer"))
    await run_log.add(other("later"))
    assert sent_by(run_log) == first
    append = run_log.next_append()
    assert append is not None
    run_log.acknowledge(append)
    assert [payload.get("text") for _, payload in sent_by(run_log)] == ["answer", None]


_EVENTS = st.one_of(
    st.builds(piece, st.sampled_from(["c1", "c2"]), st.text(max_size=3)),
    st.builds(other, st.text(max_size=3)),
)


@given(steps=st.lists(st.one_of(_EVENTS, st.sampled_from(["send", "acknowledge"]))))
async def test_nothing_is_lost_doubled_or_out_of_order(steps: list[Any]) -> None:
    """Each answer's text, and all else, comes to the store as it came to the log."""
    run_log = open_log()
    stored: list[run_pb2.RunEvent] = []

    def acknowledge() -> None:
        if (append := run_log.next_append()) is not None:
            assert append.first_seq == 3 + len(stored)
            stored.extend(append.events)
            run_log.acknowledge(append)

    for step in steps:
        if step == "send":
            run_log.next_append()
        elif step == "acknowledge":
            acknowledge()
        else:
            await run_log.add(step)
    while run_log.has_more:
        acknowledge()
    assert _told(stored) == _told([step for step in steps if not isinstance(step, str)])
    assert run_log._pending_bytes == 0


def _told(events: list[run_pb2.RunEvent]) -> list[tuple[str, str, int]]:
    """Return what was said, however it was cut into pieces: each answer's text up to anything else."""
    told: list[tuple[str, str, int]] = []
    for event in events:
        payload = json.loads(event.payload_json)
        said = payload.get("call_id", "")
        text, chunks = payload.get("text", payload.get("message")), payload.get("chunks", 0)
        if said and told and told[-1][0] == said:
            told[-1] = (said, told[-1][1] + text, told[-1][2] + chunks)
        else:
            told.append((said, text, chunks))
    return told
