from __future__ import annotations

from uuid import UUID

import pytest

from crewmesh_store.runs.search import Search

NO_ID = UUID(int=0)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("Wettest month", "'wettest':* & 'month':*"),
        ("  642.5\tdata-analyst ", "'642.5':* & 'data-analyst':*"),
        ("it's", "'its':*"),
        ("a' | !b:* & \\", "'a':* & '!b:*':*"),
        ("... &", ""),
        (" ".join("x" * 30), " & ".join(["'x':*"] * 20)),
    ],
)
def test_each_word_may_be_the_beginning_of_one(typed: str, words: str) -> None:
    assert Search.of(typed).words == words


@pytest.mark.parametrize(
    ("typed", "first", "last"),
    [
        ("01a210c5", "01a210c5" + "0" * 24, "01a210c5" + "f" * 24),
        ("01A210C5-97ea-7", "01a210c597ea7" + "0" * 19, "01a210c597ea7" + "f" * 19),
        ("01a210c5-97ea-7c9c-a0be-5b289e1fa1c0",) + ("01a210c597ea7c9ca0be5b289e1fa1c0",) * 2,
    ],
)
def test_the_beginning_of_an_id_is_a_range_of_ids(typed: str, first: str, last: str) -> None:
    search = Search.of(typed)
    assert (search.first_id, search.last_id) == (UUID(first), UUID(last))


@pytest.mark.parametrize("typed", ["01a210", "hello", "01a210c5 x", "0" * 40, "g1a210c5"])
def test_what_is_no_part_of_an_id_names_none(typed: str) -> None:
    search = Search.of(typed)
    assert (search.first_id, search.last_id, search.id_end) == (NO_ID, NO_ID, "")


@pytest.mark.parametrize(
    ("typed", "id_end"),
    [
        ("5b289e1f", "'5b289e1f':*"),
        ("5b289e1fa1c0", "'5b289e1fa1c0':*"),
        ("01a210c597ea7", ""),
    ],
)
def test_up_to_twelve_digits_may_be_of_an_ids_end(typed: str, id_end: str) -> None:
    assert Search.of(typed).id_end == id_end
