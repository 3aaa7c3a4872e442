"""What a run's log queues, sends and sends again, without a store."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh_worker.runs.log import RunLog


class _Writer:
    """Sends nothing by itself."""

    def changed(self, run_log: RunLog, *, urgent: bool = False) -> None: ...


def open_log() -> RunLog:
    lease = run_store_pb2.Lease(run=run_pb2.Run(id="r1"), epoch=1, next_seq=3)
    return RunLog(lease, _Writer())  # type: ignore[arg-type]


def event(number: int) -> run_pb2.RunEvent:
    return run_pb2.RunEvent(type="log", task="t", payload_json=json.dumps({"n": number}))


def sent_by(run_log: RunLog) -> list[int]:
    append = run_log.next_append()
    return [] if append is None else [json.loads(e.payload_json)["n"] for e in append.events]


async def test_what_may_be_stored_is_sent_again_as_it_was() -> None:
    run_log = open_log()
    await run_log.add(event(0))
    assert sent_by(run_log) == [0]
    await run_log.add(event(1))
    await run_log.add(event(2))
    assert sent_by(run_log) == [0]
    append = run_log.next_append()
    assert append is not None
    run_log.acknowledge(append)
    assert sent_by(run_log) == [1, 2]


@given(steps=st.lists(st.sampled_from(["add", "send", "acknowledge"])))
async def test_nothing_is_lost_doubled_or_out_of_order(steps: list[str]) -> None:
    run_log = open_log()
    stored: list[run_pb2.RunEvent] = []

    def acknowledge() -> None:
        if (append := run_log.next_append()) is not None:
            assert append.first_seq == 3 + len(stored)
            stored.extend(append.events)
            run_log.acknowledge(append)

    for number, step in enumerate(steps):
        if step == "add":
            await run_log.add(event(number))
        elif step == "send":
            run_log.next_append()
        else:
            acknowledge()
    while run_log.has_more:
        acknowledge()
    assert stored == [event(number) for number, step in enumerate(steps) if step == "add"]
    assert run_log._pending_bytes == 0
