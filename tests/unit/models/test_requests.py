"""What the offline model takes each part of a message for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewmesh_worker.models.rules.requests import read_requests

LISBON = {"city": "Lisbon", "days": 1}


@pytest.mark.parametrize(
    ("part", "arguments", "days"),
    [
        ("What's the weather in Lisbon?", LISBON, "all"),
        ("weather lisbon", LISBON, "all"),
        ("Lisbon weather", LISBON, "all"),
        ("How hot is it in Lisbon right now?", LISBON, "all"),
        ("What\u2019s the weather like in Lisbon today?", LISBON, "all"),
        ("And the weather in Lisbon?", LISBON, "all"),
        ("Will it rain in Lisbon tomorrow?", {"city": "Lisbon", "days": 2}, "tomorrow"),
        ("Tomorrow's weather in Lisbon", {"city": "Lisbon", "days": 2}, "tomorrow"),
        ("weather new york for the next 3 days", {"city": "New York", "days": 3}, "all"),
        ("What about the temperature in Oslo over the next five days", {"city": "Oslo", "days": 5}, "all"),
        ("Weather in Rome for 40 days", {"city": "Rome", "days": 40}, "all"),
        ("Weather in Rome for the next 40 days", {"city": "Rome", "days": 16}, "all"),
        ("forecast for Lisbon, Portugal this weekend",
         {"city": "Lisbon", "country": "Portugal", "days": 7}, "weekend"),
        ("Do I need an umbrella in London on Friday?", {"city": "London", "days": 7}, "friday"),
        ("weather in Porto this week", {"city": "Porto", "days": 7}, "all"),
        ("Is it cold in St. Petersburg today?", {"city": "St. Petersburg", "days": 1}, "all"),
    ],
)  # fmt: skip
def test_the_weather(part: str, arguments: dict[str, Any], days: str) -> None:
    (request,) = read_requests([part])
    arguments = {**arguments, "days": min(arguments["days"], 16)}
    assert (request.tool, request.arguments, request.days) == ("get_weather", arguments, days)


@pytest.mark.parametrize(
    ("part", "source", "targets", "amount"),
    [
        ("100 EUR in USD", "EUR", ["USD"], 100.0),
        ("How much is 20 dollars in euros?", "USD", ["EUR"], 20.0),
        ("How many yen is 5 euros?", "EUR", ["JPY"], 5.0),
        ("exchange rate eur to usd", "EUR", ["USD"], 1.0),
        ("convert 1,500.50 gbp to usd, jpy and chf", "GBP", ["USD", "JPY", "CHF"], 1500.5),
        ("What is 10 pounds in yen and zloty?", "GBP", ["JPY", "PLN"], 10.0),
    ],
)
def test_money(part: str, source: str, targets: list[str], amount: float) -> None:
    (request,) = read_requests([part])
    arguments = {"source": source, "targets": targets, "amount": amount}
    assert (request.tool, request.arguments) == ("convert_currency", arguments)


@pytest.mark.parametrize(
    ("part", "tool", "arguments"),
    [
        ("What time is it in Tokyo?", "get_time", {"city": "Tokyo"}),
        ("What time is it?", "get_time", {}),
        ("What's the date today?", "get_time", {}),
        ("What is the time in New York, US?", "get_time", {"city": "New York", "country": "US"}),
        ("Who was Ada Lovelace?", "look_up_topic", {"topic": "Ada Lovelace"}),
        ("And who was Ada Lovelace?", "look_up_topic", {"topic": "Ada Lovelace"}),
        ("What is gRPC?", "look_up_topic", {"topic": "gRPC"}),
        ("tell me about the Eiffel Tower", "look_up_topic", {"topic": "Eiffel Tower"}),
        ("time city=Oslo", "run_query", {"query": "time city=Oslo"}),
        ("wether city=Oslo", "run_query", {"query": "wether city=Oslo"}),
        ("What is your name?", "", {}),
        ("Get me the cat in the hat", "", {}),
        ("Buy milk", "", {}),
        ("the cat", "", {}),
    ],
)
def test_everything_else(part: str, tool: str, arguments: dict[str, Any]) -> None:
    (request,) = read_requests([part])
    assert (request.tool, request.arguments) == (tool, arguments)


def test_the_weather_of_no_place_is_the_weather_of_nowhere() -> None:
    (request,) = read_requests(["What is the weather?"])
    assert (request.tool, request.placeless) == ("", True)


@pytest.mark.parametrize(
    ("earlier", "part", "tool", "arguments", "days"),
    [
        ("Weather in Lisbon?", "And in Porto?", "get_weather", {"city": "Porto", "days": 1}, "all"),
        ("Weather in Lisbon?", "what about Porto", "get_weather", {"city": "Porto", "days": 1}, "all"),
        ("Weather in Lisbon?", "And tomorrow?", "get_weather", {"city": "Lisbon", "days": 2}, "tomorrow"),
        ("Weather in Lisbon, Portugal?", "And in Madrid?", "get_weather",
         {"city": "Madrid", "days": 1}, "all"),
        ("Weather in Lisbon?", "And in Paris, Texas this weekend?", "get_weather",
         {"city": "Paris", "country": "Texas", "days": 7}, "weekend"),
        ("Weather in Lisbon, Portugal?", "What time is it there?", "get_time",
         {"city": "Lisbon", "country": "Portugal"}, "all"),
        ("What time is it in Rome?", "Is it raining there?", "get_weather",
         {"city": "Rome", "days": 1}, "all"),
        ("What time is it in Rome?", "and in Oslo?", "get_time", {"city": "Oslo"}, "all"),
        ("Hello", "And in Porto?", "", {}, "all"),
    ],
)  # fmt: skip
def test_a_part_is_understood_from_what_came_before_it(
    earlier: str, part: str, tool: str, arguments: dict[str, Any], days: str
) -> None:
    (request,) = read_requests([part], [earlier])
    assert (request.tool, request.arguments, request.days) == (tool, arguments, days)
    _, same = read_requests([earlier, part])
    assert same == request


@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_parts_can_be_read(parts: list[str]) -> None:
    assert [request.part for request in read_requests(parts)] == parts
