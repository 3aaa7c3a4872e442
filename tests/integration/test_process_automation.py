"""The process-automation crew with the offline model, in real runners, with a real receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from crewmesh.v1.run_store_pb2 import Effect, HumanAnswer, TaskCheckpoint
from crewmesh.v1.runner_pb2 import EffectKept, Execute, FromRunner, ToRunner
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import to_json
from crewmesh_worker.crews.inputs import validate_inputs
from crewmesh_worker.runner.pool import RunnerPool, RunnerSettings

pytestmark = pytest.mark.long

TICKETS = Path(__file__).parents[2] / "docs" / "crews" / "samples" / "tickets.jsonl"
SECRET = "whsec_" + base64.b64encode(b"a secret of the organisation").decode()
QUIET = {"id": "Q-1", "from": "a@example.com", "subject": "An idea", "body": "A newsletter?"}


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[RunnerPool]:
    pool = RunnerPool(RunnerSettings(slots=2, spares=1))
    await pool.start()
    yield pool
    await pool.stop()


@dataclass
class Attempt:
    """What a runner said in one attempt, and what the mesh would keep of it."""

    messages: list[FromRunner]
    effects: list[Effect] = field(default_factory=list)

    @property
    def checkpoints(self) -> list[TaskCheckpoint]:
        return [m.checkpoint for m in self.messages if m.HasField("checkpoint")]

    @property
    def draft(self) -> str:
        assert self.messages[-1].HasField("waiting"), self.messages[-1]
        return str(json.loads(self.messages[-1].waiting.payload_json)["draft"])

    @property
    def planned(self) -> list[dict[str, Any]]:
        return list(yaml.safe_load(self.draft.split("```yaml\n")[1].split("```")[0])["actions"])

    @property
    def actions(self) -> list[dict[str, Any]]:
        assert self.messages[-1].HasField("finished"), self.messages[-1]
        return list(json.loads(self.messages[-1].finished.output_json)["actions"])


Triage = Callable[..., Any]


@pytest.fixture
def triage(pool: RunnerPool, tmp_path: Path) -> Triage:
    """Run an attempt; `after` is one whose draft was answered."""
    definition = Catalogue.load().get("process-automation")

    async def run(
        inputs: dict[str, Any],
        *,
        after: Attempt | None = None,
        answer: HumanAnswer | None = None,
        effects: Iterable[Effect] = (),
        environment: dict[str, str] | None = None,
    ) -> Attempt:
        complete = validate_inputs(definition, inputs)
        runner = await pool.acquire(str(tmp_path))
        attempt = Attempt([])
        try:
            request = Execute(
                run_id="run-1",
                definition_json=to_json(definition),
                inputs_json=json.dumps(complete),
                model="offline",
                dataset_paths={"data": str(TICKETS)} if "data" in complete else {},
                checkpoints=after.checkpoints if after else (),
                answer=answer,
                effects=effects,
                environment=environment
                or {"WEBHOOK_SECRET": SECRET, "CREWMESH_PRIVATE_NETWORK": "true"},
            )
            async for message in runner.execute(request):
                attempt.messages.append(message)
                if message.HasField("effect"):
                    attempt.effects.append(message.effect)
                    kept = EffectKept(key=message.effect.key)
                    await runner.answer(ToRunner(effect_kept=kept))
        finally:
            await runner.release()
        return attempt

    return run


@dataclass
class Receiver:
    """Takes webhooks, and answers with the statuses that it is given, then with 200."""

    server: HTTPServer
    statuses: list[int] = field(default_factory=list)
    received: list[Request] = field(default_factory=list)

    def take(self, request: Request) -> Response:
        self.received.append(request)
        return Response(status=self.statuses.pop(0) if self.statuses else 200)

    @property
    def url(self) -> str:
        return self.server.url_for("/hook")

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.get_data()) for request in self.received]

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.received]


@pytest.fixture
def receiver(httpserver: HTTPServer) -> Receiver:
    taker = Receiver(httpserver)
    httpserver.expect_request("/hook", method="POST").respond_with_handler(taker.take)
    return taker


async def test_tickets_are_classified_with_their_fields_routes_and_answers(triage: Triage) -> None:
    attempt = await triage({"data": "tickets"})
    planned = {action["id"]: action for action in attempt.planned}
    assert [(a["category"], a["route"], a["urgency"]) for a in planned.values()] == [
        ("billing", "finance", "normal"),
        ("technical", "support", "urgent"),
        ("order", "logistics", "low"),
        ("account", "support", "high"),
        ("other", "inbox", "normal"),
    ]
    assert planned["T-101"]["fields"] == {
        "name": "Ada Byron",
        "email": "ada.byron@example.com",
        "invoice_number": "INV-2041",
        "amount": "49.90 EUR",
        "deadline": "2026-12-01",
    }
    assert planned["T-102"]["fields"]["phone"] == "+44 20 7946 0102"
    assert planned["T-103"]["fields"]["order_number"] == "A-77310"
    assert "about invoice INV-2041" in planned["T-101"]["answer"]
    assert planned["T-101"]["answer"].startswith("Hello Ada Byron,")
    assert attempt.draft.startswith("Plan of 5 actions, 1 of them urgent. It waits for approval.")
    triaged = [
        json.loads(m.event.payload_json)["output"]
        for m in attempt.messages
        if m.event.type == "task.completed"
    ]
    assert len(json.loads(triaged[0])["tickets"]) == 5
    assert "no language model" in triaged[0]


async def test_what_was_approved_is_posted_once_each_and_signed(
    triage: Triage, receiver: Receiver
) -> None:
    inputs = {"data": "tickets", "webhook_url": receiver.url}
    waiting = await triage(inputs)
    assert receiver.received == []
    done = await triage(inputs, after=waiting, answer=HumanAnswer(approve=True))
    assert [action["status"] for action in done.actions] == ["sent"] * 5
    assert [body["type"] for body in receiver.bodies] == ["message.triaged"] * 5
    assert [body["data"] for body in receiver.bodies] == waiting.planned
    assert [action["detail"] for action in done.actions] == receiver.ids
    assert len(set(receiver.ids)) == 5
    for request in receiver.received:
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}."
        digest = hmac.new(
            b"a secret of the organisation", signed.encode() + request.get_data(), hashlib.sha256
        ).digest()
        assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
        assert request.headers["Idempotency-Key"] == request.headers["webhook-id"]


async def test_a_later_attempt_posts_nothing_that_was_posted(
    triage: Triage, receiver: Receiver
) -> None:
    inputs = {"data": "tickets", "webhook_url": receiver.url}
    waiting = await triage(inputs)
    answer = HumanAnswer(approve=True)
    first = await triage(inputs, after=waiting, answer=answer)
    ids = receiver.ids
    again = await triage(inputs, after=waiting, answer=answer, effects=first.effects[:3])
    assert receiver.ids[5:] == ids[3:]
    assert again.actions == first.actions


async def test_a_person_may_have_a_message_left_out(triage: Triage, receiver: Receiver) -> None:
    inputs = {"data": "tickets", "webhook_url": receiver.url}
    waiting = await triage(inputs)
    changed = await triage(inputs, after=waiting, answer=HumanAnswer(text="Drop T-102 and T-105."))
    assert [action["id"] for action in changed.planned] == ["T-101", "T-103", "T-104"]
    changed.messages[:0] = [m for m in waiting.messages if not m.checkpoint.waiting]
    await triage(inputs, after=changed, answer=HumanAnswer(approve=True))
    assert [body["data"]["id"] for body in receiver.bodies] == ["T-101", "T-103", "T-104"]


@pytest.mark.parametrize(
    ("approval", "messages", "waits"),
    [
        ("always", [QUIET], True),
        ("never", [{**QUIET, "subject": "Urgent"}], False),
        ("when_urgent", [{**QUIET, "subject": "Urgent"}], True),
        ("when_urgent", [{**QUIET, "subject": "Not urgent"}], False),
    ],
)
async def test_a_person_is_asked_when_the_run_says_so(
    triage: Triage, receiver: Receiver, approval: str, messages: list[Any], waits: bool
) -> None:
    inputs = {"messages": messages, "approval": approval, "webhook_url": receiver.url}
    attempt = await triage(inputs)
    assert attempt.messages[-1].HasField("waiting") == waits
    assert len(receiver.received) == (0 if waits else 1)


async def test_a_passing_fault_of_the_receiver_is_tried_again_with_the_same_id(
    triage: Triage, receiver: Receiver
) -> None:
    receiver.statuses = [503]
    inputs = {"messages": [QUIET], "approval": "never", "webhook_url": receiver.url}
    attempt = await triage(inputs)
    assert attempt.actions[0]["status"] == "sent"
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WEBHOOK_SECRET": SECRET}, "private network"),
        ({"CREWMESH_PRIVATE_NETWORK": "true"}, "set WEBHOOK_SECRET"),
    ],
)
async def test_what_may_not_be_posted_is_reported_as_failed(
    triage: Triage, receiver: Receiver, environment: dict[str, str], said: str
) -> None:
    inputs = {"messages": [QUIET], "approval": "never", "webhook_url": receiver.url}
    attempt = await triage(inputs, environment=environment)
    assert attempt.actions[0]["status"] == "failed"
    assert said in attempt.actions[0]["detail"]
    assert attempt.effects == []
    assert receiver.received == []


async def test_a_refusal_of_the_receiver_is_reported_and_not_tried_again(
    triage: Triage, receiver: Receiver
) -> None:
    receiver.statuses = [410]
    inputs = {"messages": [QUIET], "approval": "never", "webhook_url": receiver.url}
    attempt = await triage(inputs)
    assert "answered 410" in attempt.actions[0]["detail"]
    assert len(receiver.received) == 1


async def test_without_a_webhook_the_plan_is_the_result(triage: Triage) -> None:
    attempt = await triage({"messages": [QUIET], "approval": "never"})
    assert [(a["id"], a["status"]) for a in attempt.actions] == [("Q-1", "planned")]


async def test_categories_and_fields_are_the_runs_own(triage: Triage) -> None:
    message = {"id": 7, "subject": "Spider plant", "text": "Pot size: 14 cm\nMy plant is ill."}
    attempt = await triage(
        {
            "messages": [message],
            "routes": {"plants": "green house", "animals": "barn", "rest": "desk"},
            "fields": {"pot_size": "the size of the pot"},
        }
    )
    (planned,) = attempt.planned
    assert planned["id"] == "7"
    assert planned["fields"] == {"pot_size": "14 cm"}
    assert planned["route"] == "desk"


async def test_a_run_without_messages_fails_and_says_what_to_give(triage: Triage) -> None:
    attempt = await triage({})
    assert "give some as the input messages" in attempt.messages[-1].failed.error.message
