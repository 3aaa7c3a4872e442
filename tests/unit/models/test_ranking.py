"""Which sentences answer a question."""

from __future__ import annotations

import pytest

from crewmesh_worker.models.rules.ranking import best_passages, passages

LIGHTHOUSE = """The lighthouse
It was built in 1872 by Dr. James Ford, of granite. Its lamp stands 41.5 metres above the sea.
The keeper left in 1984, when the light became automatic. "Nobody came back," he said. Home
Ships from the U.S. coast can see the lamp from 20 miles away."""


def test_sentences_are_told_apart_at_their_ends_only() -> None:
    assert [passage.text for passage in passages(1, LIGHTHOUSE)] == [
        "It was built in 1872 by Dr. James Ford, of granite.",
        "Its lamp stands 41.5 metres above the sea.",
        "The keeper left in 1984, when the light became automatic.",
        '"Nobody came back," he said.',
        "Ships from the U.S. coast can see the lamp from 20 miles away.",
    ]


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("When was it built?", "It was built in 1872 by Dr. James Ford, of granite."),
        ("How high is the lamp above the sea?", "Its lamp stands 41.5 metres above the sea."),
        ("Who were the keepers?", "The keeper left in 1984, when the light became automatic."),
    ],
)
def test_the_sentence_that_shares_the_questions_words_comes_first(
    question: str, first: str
) -> None:
    assert best_passages(question, passages(1, LIGHTHOUSE), 3)[0].text == first


@pytest.mark.parametrize("question", ["Who won the cup?", "What is it?", "", "?!"])
def test_a_question_that_shares_no_word_gets_no_sentence(question: str) -> None:
    assert best_passages(question, passages(1, LIGHTHOUSE), 3) == []


def test_the_same_sentence_on_two_pages_is_given_once_and_from_the_first() -> None:
    candidates = [*passages(1, LIGHTHOUSE), *passages(2, LIGHTHOUSE)]
    best = best_passages("Who is the keeper of the light?", candidates, 5)
    assert len({passage.text for passage in best}) == len(best)
    assert {passage.page for passage in best} == {1}


def test_no_more_sentences_are_given_than_asked_for_and_always_the_same_ones() -> None:
    candidates = passages(
        1, "\n".join(f"The lamp number {n} is lit every night." for n in range(50))
    )
    best = best_passages("Is the lamp lit?", candidates, 4)
    assert [passage.place for passage in best] == [0, 1, 2, 3]
    assert best == best_passages("Is the lamp lit?", candidates, 4)


@pytest.mark.parametrize("text", ["", "\n\n", "short", "x" * 10_000])
def test_a_page_without_sentences_gives_none(text: str) -> None:
    assert best_passages("What is x?", passages(1, text), 3) == []
