"""What no message may hold: each fault is told with its field's path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crewmesh.common.access import access_to
from crewmesh.common.errors import InvalidInputError
from crewmesh.common.message_checks import check_message, decoding
from crewmesh.v1 import agent_pb2, budget_pb2, identity_pb2, memory_pb2, run_store_pb2
from tests.protos import services


def start(**spec: Any) -> agent_pb2.StartRunRequest:
    return agent_pb2.StartRunRequest(spec=agent_pb2.RunSpec(**spec))


def told(message: Any) -> dict[str, str]:
    try:
        check_message(message)
    except InvalidInputError as error:
        return {violation.field: violation.message for violation in error.violations}
    return {}


HOSTILE: list[tuple[Callable[[], Any], str]] = [
    (lambda: start(crew="a\x00"), "spec.crew"),
    (lambda: start(models=["offline", "\x00"]), "spec.models[1]"),
    (lambda: start(webhook=agent_pb2.Webhook(secret="\x00")), "spec.webhook.secret"),
    (lambda: start(timeout_seconds=2**31), "spec.timeout_seconds"),
    (lambda: agent_pb2.WatchRunRequest(after_seq=2**63), "after_seq"),
    (lambda: agent_pb2.ListRunsRequest(status=99), "status"),  # type: ignore[arg-type]
    (lambda: agent_pb2.ListRunsRequest(created_after={"seconds": 2**40}), "created_after"),
    (lambda: agent_pb2.ListRunsRequest(created_after={"nanos": -1}), "created_after"),
    (lambda: agent_pb2.GetRunRequest(wait={"seconds": 2**62}), "wait"),
    (lambda: agent_pb2.GetRunRequest(wait={"seconds": 1, "nanos": -1}), "wait"),
    (lambda: agent_pb2.GetRunRequest(wait={"nanos": 10**9}), "wait"),
    (
        lambda: budget_pb2.PutBudgetsRequest(budgets=[{}, {"api_key_id": "\x00"}]),
        "budgets[1].api_key_id",
    ),
    (lambda: memory_pb2.Memory(importance=float("nan")), "importance"),
    (lambda: run_store_pb2.Lease(secrets={"A": "\x00"}), "secrets.A"),
    (lambda: run_store_pb2.Lease(secrets={"\x00": "a"}), "secrets"),
]


@pytest.mark.parametrize(("make", "place"), HOSTILE, ids=[place for _, place in HOSTILE])
def test_a_fault_is_told_with_its_place(make: Callable[[], Any], place: str) -> None:
    assert list(told(make())) == [place]


def test_every_fault_is_told() -> None:
    assert list(told(start(crew="\x00", session_id="\x00"))) == ["spec.crew", "spec.session_id"]


def test_what_people_send_passes() -> None:
    request = start(crew="hello", inputs_json='{"a": "ü\\n"}', priority=-100, models=["offline"])
    request.wait.FromMilliseconds(1500)
    assert told(request) == {}
    assert told(agent_pb2.ListRunsRequest(created_after={"seconds": 1}, status=1)) == {}  # type: ignore[arg-type]


def test_bytes_that_are_no_text_are_told_with_their_place() -> None:
    kind = agent_pb2.StartRunRequest
    surrogate = start(webhook=agent_pb2.Webhook(url="half")).SerializeToString()
    answer = decoding(kind.DESCRIPTOR, kind.FromString)(
        surrogate.replace(b"half", b"\xed\xa0\x80!")
    )
    assert [violation.field for violation in answer.violations] == ["spec.webhook.url"]


def test_bytes_that_are_no_message_are_told() -> None:
    kind = identity_pb2.SignInRequest
    answer = decoding(kind.DESCRIPTOR, kind.FromString)(b"\xff\xff\xff")
    assert [violation.field for violation in answer.violations] == ["(the whole)"]


def test_only_what_the_mesh_made_itself_is_trusted() -> None:
    found = [
        (method.name, access.mesh_only)
        for service in services()
        for method in service.methods
        if (access := access_to(f"/{service.full_name}/{method.name}")).trusted
    ]
    assert {name for name, _ in found} == {
        *("AppendEvents", "AttachWorker", "RecordEffect", "RenewLeases", "ReadMemories"),
        *("ClaimDeliveries", "ReportDelivery", "PublishCrews", "ReserveBudget", "SettleBudget"),
    }
    assert all(mesh_only for _, mesh_only in found)
