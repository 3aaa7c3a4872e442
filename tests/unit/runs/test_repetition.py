from __future__ import annotations

import pytest

from crewmesh.common.errors import StateError
from crewmesh.v1 import budget_pb2, run_pb2
from crewmesh_worker.runs.repetition import spec_of

ENDED = run_pb2.RUN_STATUS_FAILED


def test_the_next_run_is_asked_the_same() -> None:
    run = run_pb2.Run(
        id="r",
        status=ENDED,
        crew="hello",
        crew_version="1",
        inputs_json='{"topic": "x"}',
        session_id="s",
        priority=-3,
        timeout_seconds=9,
        max_attempts=2,
        models=["a/b", "offline"],
        budget=budget_pb2.BudgetLimit(max_tokens=7),
    )
    spec = spec_of(run, "key")
    assert (spec.crew, spec.inputs_json, spec.session_id) == ("hello", '{"topic": "x"}', "s")
    assert (spec.priority, spec.timeout_seconds, spec.max_attempts) == (-3, 9, 2)
    assert list(spec.models) == ["a/b", "offline"]
    assert spec.budget.max_tokens == 7
    assert not spec.budget.HasField("max_micros")
    assert (spec.idempotency_key, spec.retry_of) == ("key", "r")


def test_a_run_without_a_budget_of_its_own_gets_none() -> None:
    assert not spec_of(run_pb2.Run(status=ENDED), "").HasField("budget")


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (run_pb2.Run(status=run_pb2.RUN_STATUS_QUEUED), "RUN_NOT_ENDED"),
        (run_pb2.Run(status=run_pb2.RUN_STATUS_RUNNING), "RUN_NOT_ENDED"),
        (run_pb2.Run(status=run_pb2.RUN_STATUS_WAITING), "RUN_NOT_ENDED"),
        (run_pb2.Run(status=run_pb2.RUN_STATUS_SUCCEEDED, turn=1), "RUN_OF_SESSION"),
    ],
)
def test_what_goes_on_or_answers_a_message_is_not_repeated(run: run_pb2.Run, reason: str) -> None:
    with pytest.raises(StateError) as raised:
        spec_of(run, "")
    assert raised.value.reason == reason
