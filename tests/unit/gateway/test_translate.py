from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from crewmesh.v1.run_pb2 import Run, RunError, RunEvent, RunStatus, TaskState, Usage
from crewmesh_gateway import schemas
from crewmesh_gateway.sse import encode_events
from crewmesh_gateway.translate import STATUS_NAMES, event_json, rfc3339, run_json

AT = Timestamp(seconds=1_795_415_940, nanos=123_456_789)


def as_json(content: Any) -> Any:
    return orjson.loads(orjson.dumps(content))


def test_what_is_unset_is_null() -> None:
    run = as_json(run_json(Run(id="r", status=RunStatus.RUN_STATUS_QUEUED, created_at=AT)))

    schemas.Run.model_validate(run)
    nulls = {name for name, value in run.items() if value is None}
    assert nulls == {
        "output",
        "output_partial",
        "output_json",
        "budget",
        "error",
        "session_id",
        "turn",
        "worker_id",
        "retry_of",
        "started_at",
        "finished_at",
        "cancel_requested_at",
        "webhook",
    }
    assert run["inputs"] == {}
    assert run["tasks"] == []


def test_a_whole_run() -> None:
    run = Run(
        id="r",
        status=RunStatus.RUN_STATUS_SUCCEEDED,
        inputs_json='{"n": 123456789012345678901234567890}',
        output="",
        output_json="[1]",
        error=RunError(code="c", message="m"),
        usage=Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3, model_calls=4),
        tasks=[
            TaskState(name="a", agent="A", status="completed", output="", started_at=AT),
            TaskState(name="b", agent="B", status="pending"),
        ],
        created_at=AT,
    )
    encoded = orjson.dumps(run_json(run))
    content = orjson.loads(encoded)

    schemas.Run.model_validate(content)
    assert b'"inputs":{"n": 123456789012345678901234567890}' in encoded
    assert content["output"] == ""
    assert content["output_json"] == [1]
    assert content["error"] == {"code": "c", "message": "m"}
    assert content["usage"]["model_calls"] == 4
    assert [task["output"] for task in content["tasks"]] == ["", None]


def test_every_status_but_unspecified_has_its_name() -> None:
    assert sorted(STATUS_NAMES.values()) == sorted(schemas.Status.__args__)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (AT, "2026-11-23T06:39:00.123456Z"),
        (Timestamp(), "1970-01-01T00:00:00.000000Z"),
        (Timestamp(seconds=-1, nanos=1000), "1969-12-31T23:59:59.000001Z"),
    ],
)
def test_times_are_rfc_3339_in_utc(moment: Timestamp, text: str) -> None:
    assert rfc3339(moment) == text


def test_an_event_takes_its_payload_as_it_is() -> None:
    payload = '{"n": 1.10, "text": "a\\nb"}'
    event = RunEvent(seq=7, run_id="r", at=AT, attempt=1, type="log", payload_json=payload)

    assert payload.encode() in orjson.dumps(event_json(event))
    schemas.RunEvent.model_validate(as_json(event_json(event)))


def test_an_event_is_one_line_of_data_however_its_payload_is_written() -> None:
    event = RunEvent(seq=1, type="log", task="t\n1", payload_json='{\r\n "a":\n "b"\r}')
    lines = encode_events([event]).split(b"\n")

    assert lines[0] == b"id: 1"
    assert lines[1] == b"event: log"
    assert orjson.loads(lines[2].removeprefix(b"data: "))["payload"] == {"a": "b"}
    assert lines[3:] == [b"", b""]


def test_an_events_type_cannot_break_out_of_its_line() -> None:
    event = RunEvent(seq=1, type="log\ndata: forged\r\n\nid: 9")

    assert encode_events([event]).startswith(b"id: 1\nevent: log data: forged  id: 9\ndata: {")
