from __future__ import annotations

from typing import Any

import pytest

from crewmesh.cli.chat.question import Question

REVIEW = {"prompt": "Approve the result?", "draft": "a draft"}
CALL = {**REVIEW, "draft": "pay(amount=5)", "tool": "pay", "arguments": {"amount": 5}}
ASKED = {"prompt": "Which city?"}
OUTCOMES = {**REVIEW, "options": ["publish", "revise"]}


@pytest.mark.parametrize(
    ("payload", "line", "expected"),
    [
        (REVIEW, "y", {"text": "", "approve": True}),
        (REVIEW, " YES ", {"text": "", "approve": True}),
        (REVIEW, "n", {"text": "", "approve": False}),
        (REVIEW, "make it short", {"text": "make it short"}),
        (REVIEW, "no more than three lines", {"text": "no more than three lines"}),
        (CALL, "y", {"text": "", "approve": True}),
        (CALL, "too much", {"text": "too much"}),
        (OUTCOMES, "revise", {"text": "revise"}),
        # What isn't to be approved is answered by its text, whatever it is.
        (ASKED, "y", {"text": "y"}),
        (ASKED, "Lisbon", {"text": "Lisbon"}),
    ],
)
def test_a_line_is_an_answer_to_this_question_only(
    payload: dict[str, Any], line: str, expected: dict[str, Any]
) -> None:
    assert Question("r", 7, payload).answered_by(line) == {**expected, "question": 7}


@pytest.mark.parametrize(
    ("payload", "lines", "hint"),
    [
        (REVIEW, ["a draft", "Approve the result?"], "y, n, or what to change> "),
        (
            CALL,
            ["pay(amount=5)", '  with {"amount": 5}', "Approve the result?"],
            "y, n, or why not> ",
        ),
        (ASKED, ["Which city?"], "answer> "),
        (
            OUTCOMES,
            ["a draft", "Approve the result?", "  one of: publish, revise"],
            "y, n, or what to change> ",
        ),
        ({"prompt": "x\x1b[2J"}, ["x"], "answer> "),
    ],
)
def test_a_question_is_shown_with_what_is_to_be_decided(
    payload: dict[str, Any], lines: list[str], hint: str
) -> None:
    question = Question("r", 7, payload)
    assert question.lines(with_draft=True) == lines
    assert question.hint == hint
    assert question.lines(with_draft=False)[-1] == lines[-1]
