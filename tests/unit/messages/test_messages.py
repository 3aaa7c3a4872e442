"""What people write: parts, structured queries, history."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewmesh_worker.messages.history import Turn, read_history
from crewmesh_worker.messages.parts import MAX_PARTS, split_message
from crewmesh_worker.messages.queries import VERBS, QueryError, is_query, parse_query
from crewmesh_worker.tools.registry import load_tool


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("Hello", ["Hello"]),
        ("  \n \n", []),
        ("What is gRPC?", ["What is gRPC?"]),
        ("Hi! Rain in Rome? Time in Oslo?", ["Hi!", "Rain in Rome?", "Time in Oslo?"]),
        ("One.\nTwo.\n\nThree", ["One.", "Two.", "Three"]),
        ("- one\n* two\n3. three\n4) four", ["one", "two", "three", "four"]),
        ("Rain in Rome; time in Oslo", ["Rain in Rome", "time in Oslo"]),
        ("Weather in Rome. And in Oslo?", ["Weather in Rome.", "And in Oslo?"]),
        (
            "What is the weather in Rome and what time is it there?",
            ["What is the weather in Rome", "what time is it there?"],
        ),
        ("Who was Ada Lovelace, and when is it noon in Rome?",
         ["Who was Ada Lovelace", "when is it noon in Rome?"]),
        ("Tell me about bread and butter", ["Tell me about bread and butter"]),
        ("I am lost and what now?", ["I am lost and what now?"]),
        ("Is it cold in St. Petersburg? Yes.", ["Is it cold in St. Petersburg?", "Yes."]),
        ("Ask Dr. No about J. Smith.", ["Ask Dr. No about J. Smith."]),
        ("It costs 3.50 euros. Why?", ["It costs 3.50 euros.", "Why?"]),
        ("weather city=St. Gallen days=3", ["weather city=St. Gallen days=3"]),
        ("weather city=Rome\ntime city=Oslo", ["weather city=Rome", "time city=Oslo"]),
    ],
)  # fmt: skip
def test_a_message_is_split_into_what_it_asks(message: str, parts: list[str]) -> None:
    assert split_message(message) == parts


def test_a_message_with_very_many_parts_loses_none() -> None:
    parts = split_message("\n".join(f"Question {n}?" for n in range(30)))
    assert len(parts) == MAX_PARTS
    assert parts[-1].endswith("Question 29?")


@given(st.text(max_size=300))
def test_any_message_can_be_split(message: str) -> None:
    parts = split_message(message)
    assert all(part.strip() for part in parts)


WEATHER = "`weather city=Lisbon [country=Portugal] [days=3]`"


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("weather city=Lisbon", "get_weather", {"city": "Lisbon"}),
        ("weather city=Lisbon days=3", "get_weather", {"city": "Lisbon", "days": 3}),
        ("  Weather  CITY = Lisbon  days = 3 ", "get_weather", {"city": "Lisbon", "days": 3}),
        ("weather days=16 city=New York", "get_weather", {"city": "New York", "days": 16}),
        ('weather city="New York" country=US', "get_weather", {"city": "New York", "country": "US"}),
        ("weather city='New York'", "get_weather", {"city": "New York"}),
        ('topic about="a=b, days=3"', "look_up_topic", {"topic": "a=b, days=3"}),
        ("topic about=O'Brien", "look_up_topic", {"topic": "O'Brien"}),
        ("topic about=São Paulo", "look_up_topic", {"topic": "São Paulo"}),
        ("time city=Tokyo", "get_time", {"city": "Tokyo"}),
        ("convert from=eur to=usd, jpy", "convert_currency",
         {"source": "EUR", "targets": ["USD", "JPY"]}),
        ("convert from=EUR to=USD amount=1,000.50", "convert_currency",
         {"source": "EUR", "targets": ["USD"], "amount": 1000.5}),
    ],
)  # fmt: skip
def test_a_query_is_understood_in_one_way(text: str, tool: str, arguments: dict[str, Any]) -> None:
    assert is_query(text)
    query = parse_query(text)
    assert (query.tool, query.arguments) == (tool, arguments)
    load_tool(tool).arguments.model_validate(query.arguments)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("wether city=Lisbon", "there is no query 'wether' (did you mean 'weather'?); there are: "),
        ("flights from=LIS", "there is no query 'flights'; there are: "),
        ("weather ctiy=Lisbon", f"weather has no 'ctiy' (did you mean 'city'?); it is {WEATHER}"),
        ("weather city=Lisbon wind=yes", f"weather has no 'wind'; it is {WEATHER}"),
        ("weather days=3", f"weather needs city; it is {WEATHER}"),
        ("weather", f"weather needs city; it is {WEATHER}"),
        ("convert amount=3", "convert needs from and to; it is "),
        ("weather Lisbon days=3", f"'Lisbon' has no key in front of it; it is {WEATHER}"),
        ("weather city=", "city has no value; an example is city=Lisbon"),
        ('weather city="" days=1', "city has no value"),
        ("weather city=Lisbon city=Porto", "'city' is given twice"),
        ("weather city=Lisbon days=three", "days=three: a whole number from 1 to 16 is needed"),
        ("weather city=Lisbon days=0", "days=0: a whole number from 1 to 16 is needed"),
        ("weather city=Lisbon days=17", "days=17: a whole number"),
        ("weather city=Lisbon days=-1", "days=-1: a whole number"),
        ("weather city=Lisbon days=2.5", "days=2.5: a whole number"),
        ("convert from=EUR to=USD amount=-3", "a number greater than 0 is needed"),
        ("convert from=EUR to=USD amount=nan", "a number greater than 0 is needed"),
        ("convert from=EUR to=USD amount=much", "a number greater than 0 is needed"),
        ("convert from=euros to=USD", "from=euros: a currency's three letters are needed"),
        ("convert from=EUR to=USD,,JPY", "three letters are needed"),
        ('weather city="Lisbon', "a quotation mark is not closed"),
        ("weather city='Lisbon", "a quotation mark is not closed"),
        ("weather city=" + "x" * 600, "at most 500 characters"),
        ("", "there is no query ''"),
    ],
)
def test_a_query_that_is_wrong_is_told_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(QueryError) as raised:
        parse_query(text)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weather city=Lisbon", True), ("wether city=Lisbon", True), ("weather city", False),
        ("weather in Lisbon", False), ("is 1 = 1?", False), ("", False), ("city=Lisbon", False),
        ("What does a = b mean?", False),
    ],
)  # fmt: skip
def test_only_a_word_and_a_key_are_taken_for_a_query(text: str, expected: bool) -> None:
    assert is_query(text) is expected


def test_every_key_of_a_query_is_an_argument_of_its_tool() -> None:
    for tool, keys in VERBS.values():
        properties = load_tool(tool).schema["properties"]
        assert {key.argument for key in keys.values()} <= properties.keys()


@given(st.text(max_size=200))
def test_any_text_is_a_query_or_is_told_why_not(text: str) -> None:
    with contextlib.suppress(QueryError):
        assert parse_query(text).tool


@pytest.mark.parametrize(
    ("history", "turns"),
    [
        ("", []),
        ("user: hi", [Turn("user", "hi")]),
        ("user: hi\nassistant: Hello!\nUSER: bye",
         [Turn("user", "hi"), Turn("assistant", "Hello!"), Turn("user", "bye")]),
        ("user: one\ntwo\n\nthree\nassistant: x",
         [Turn("user", "one\ntwo\n\nthree"), Turn("assistant", "x")]),
        ("what nobody said\nuser: hi", [Turn("user", "hi")]),
        ("user:hi", [Turn("user", "hi")]),
        ("user: a: b", [Turn("user", "a: b")]),
    ],
)  # fmt: skip
def test_a_history_is_read_turn_by_turn(history: str, turns: list[Turn]) -> None:
    assert read_history(history) == turns
