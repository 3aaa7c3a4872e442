"""Answers by keyword, without any agent."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from crewmesh.common.errors import InvalidInputError
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import from_json, parse_definition, to_json
from crewmesh_worker.crews.model import RepliesDefinition
from crewmesh_worker.crews.replies import find_reply

NOON = dt.datetime(2026, 11, 24, 12, 5, tzinfo=dt.UTC)
REPLIES = {
    "input": "message",
    "answers": [
        {"keywords": ["hello", "good morning"], "text": "Hello!"},
        {"keywords": ["what time is it", "what's the time"], "text": "{time}, {weekday} {date}"},
    ],
}


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("hello", "Hello!"),
        ("  HELLO!!! ", "Hello!"),
        ("Good   morning.", "Hello!"),
        ("hello please", "Hello!"),
        ("What\u2019s the time, please?", "12:05, Tuesday 2026-11-24"),
        ("Hello! What time is it?", "Hello!\n\n12:05, Tuesday 2026-11-24"),
        ("Hello. Good morning!", "Hello!"),
        ("hello\nwhat time is it", "Hello!\n\n12:05, Tuesday 2026-11-24"),
        ("hello, what is the weather?", None),
        ("Hello! What is the weather?", None),
        ("say hello", None),
        ("othello", None),
        ("what time is it in Tokyo?", None),
        ("", None),
        ("?!", None),
        (None, None),
        (3, None),
    ],
)
def test_a_message_of_keywords_alone_is_answered(message: object, answer: str | None) -> None:
    replies = RepliesDefinition.model_validate(REPLIES)
    assert find_reply(replies, {"message": message}, NOON) == answer


def definition(**changes: Any) -> dict[str, Any]:
    return {
        "name": "greeter",
        "description": "Greets.",
        "version": "1",
        "inputs": {"properties": {"message": {"type": "string", "default": "hi"}}},
        "replies": {"input": "message", "answers": [{"keywords": ["hi"], "text": "Hello!"}]},
        "crew": {
            "agents": {"a": {"role": "A", "goal": "g", "backstory": "b"}},
            "tasks": [{"name": "t", "description": "d", "expected_output": "e", "agent": "a"}],
        },
        **changes,
    }


def test_replies_travel_with_the_definition() -> None:
    parsed = parse_definition(definition())
    assert from_json(to_json(parsed)) == parsed
    assert parsed.replies is not None
    assert parsed.replies.answers[0].text == "Hello!"


@pytest.mark.parametrize(
    ("replies", "place", "why"),
    [
        ({"input": "text", "answers": [{"keywords": ["hi"], "text": "x"}]},
         "replies.input", "no input is named 'text'; there are: message"),
        ({"input": "message", "answers": [{"keywords": ["hi"], "text": "{name}"}]},
         "replies.answers[0].text", "{name} can't be filled in"),
        ({"input": "message", "answers": [{"keywords": ["hi"], "text": "x"}, {"keywords": ["Hi!"], "text": "y"}]},
         "replies.answers[1].keywords", "'Hi!' is one of answer 0"),
        ({"input": "message", "answers": [{"keywords": ["?"], "text": "x"}]},
         "replies.answers[0].keywords", "'?' holds no word"),
        ({"input": "message", "answers": [{"keywords": [], "text": "x"}]},
         "replies.answers[0].keywords", "at least 1 item"),
        ({"input": "message", "answers": []}, "replies.answers", "at least 1 item"),
        ({"input": "message", "answers": [{"keywords": ["hi"], "text": "x", "run": "ls"}]},
         "replies.answers[0].run", "no such key"),
    ],
)  # fmt: skip
def test_replies_with_a_fault_are_refused_with_its_place(
    replies: dict[str, Any], place: str, why: str
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse_definition(definition(replies=replies))
    assert [why in v.message for v in raised.value.violations if v.field == place] == [True]


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ("help", "weather city=Lisbon days=3"),
        ("Hello! What can you do?", "What did I ask before?"),
        ("what time is it?", "12:05 UTC on Tuesday, 2026-11-24"),
        ("Thank you!", "welcome"),
    ],
)
def test_the_assistant_answers_simple_messages_by_keyword(message: str, part: str) -> None:
    replies = Catalogue.load().get("assistant").replies
    assert replies is not None
    answer = find_reply(replies, {"message": message}, NOON)
    assert answer is not None
    assert part in answer
