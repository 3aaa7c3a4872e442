"""Secrets don't show in what a run says."""

from __future__ import annotations

import json

import pytest

from crewmesh.v1.runner_pb2 import RunnerEvent
from crewmesh_worker.redaction import Redactor
from crewmesh_worker.runs.chunks import RedactedEvents

SECRETS = [
    "abcabc-1",
    "c-1zzz",
    "sk-0123456789",
    'with "quotes" and \\',
    "schlüssel-ß",
    "sk-0123456789-longer",
    "x",
]


@pytest.mark.parametrize("secret", SECRETS[:-1])
def test_a_secret_is_replaced_in_texts_and_in_json(secret: str) -> None:
    redactor = Redactor(SECRETS)
    assert redactor.redact(f"key={secret}.") == "key=[secret]."
    for ascii_only in (True, False):
        payload = json.dumps({"message": f"key={secret}."}, ensure_ascii=ascii_only)
        assert json.loads(redactor.redact(payload)) == {"message": "key=[secret]."}


def test_a_line_of_a_value_is_replaced_by_itself() -> None:
    pem = "-----BEGIN KEY-----\nMC4CAQ0123456789\nxy\n-----END KEY-----"
    redactor = Redactor([pem])
    assert redactor.redact(f"a {pem} b") == "a [secret] b"
    assert [redactor.redact(line) for line in pem.splitlines()] == [
        "[secret]", "[secret]", "xy", "[secret]",
    ]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS[:-1])
@pytest.mark.parametrize("size", [1, 2, 5, 7, 100])
def test_a_secret_that_comes_in_pieces_is_replaced(secret: str, size: int) -> None:
    said = f"sk-01 is not {secret}, sk{secret}{secret} it is"
    events = RedactedEvents(Redactor(SECRETS))
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    # Others speak meanwhile: what is printed, and another answer.
    told = [
        one
        for piece in pieces
        for event in (chunk("a", piece), chunk("b", "sk-"), RunnerEvent(type="log"))
        for one in events.take(event)
    ]
    told += events.take(RunnerEvent(type="llm.completed", payload_json='{"call_id": "a"}'))
    payloads = [json.loads(text) for event, text in told if event.type == "llm.chunk"]
    of_a = [payload for payload in payloads if payload["call_id"] == "a"]
    assert "".join(p["text"] for p in of_a) == Redactor(SECRETS).redact(said)
    assert sum(p["chunks"] for p in of_a) == len(pieces)
    assert sum(event.type == "log" for event, _ in told) == len(pieces)
    assert told[-1][0].type == "llm.completed"


def test_an_answer_that_ends_within_a_secret_tells_little_of_it() -> None:
    events = RedactedEvents(Redactor(["sk-0123456789"]))
    assert [text for _, text in events.take(chunk("a", "so: sk-012345"))] == [payload("so: ", 1)]
    assert [text for _, text in events.rest()] == [payload("[secret]", 0)]
    assert not list(events.take(chunk("a", "sk-01")))
    assert [text for _, text in events.rest()] == [payload("sk-01", 1)]
    assert not list(events.rest())


@pytest.mark.parametrize("wrong", ["{", "[]", '{"call_id": "a"}', "null"])
def test_a_runners_mistake_is_no_error(wrong: str) -> None:
    event = RunnerEvent(type="llm.chunk", payload_json=wrong)
    assert list(RedactedEvents(Redactor(SECRETS)).take(event)) == [(event, wrong)]


def chunk(call_id: str, text: str) -> RunnerEvent:
    return RunnerEvent(type="llm.chunk", payload_json=payload(text, 1, call_id))


def payload(text: str, chunks: int, call_id: str = "a") -> str:
    content = {"call_id": call_id, "text": text, "chunks": chunks}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def test_a_value_of_few_characters_is_left_alone() -> None:
    assert Redactor(["x", "", "true"]).redact("x is true") == "x is true"


def test_without_secrets_nothing_changes() -> None:
    assert Redactor([]).redact("anything") == "anything"
