"""The tools that ask external APIs."""

from __future__ import annotations

import datetime as dt
import re
import socket
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pytest_httpserver import HTTPServer

from crewmesh_worker.tools.context import RunContext
from crewmesh_worker.tools.network.settings import variable
from crewmesh_worker.tools.registry import ToolError

from .external import CHANCES, DAYS

Call = Callable[..., Any]


def test_the_weather_is_told_for_each_day_and_now(call: Call, httpserver: HTTPServer) -> None:
    told = call("get_weather", city="Lisbon", days=3)
    assert told["place"] == {
        "name": "Lisbon", "country": "Portugal", "region": "Lisbon", "latitude": 38.71667,
        "longitude": -9.13333, "timezone": "Europe/Lisbon", "population": 517802, "elevation": 45.0,
    }  # fmt: skip
    assert told["now"] == {
        "time": "2026-11-24T12:00", "weather": "partly cloudy", "temperature": 17.4,
        "feels_like": 16.2, "humidity_percent": 68, "precipitation": 0.0, "wind": 11.9,
    }  # fmt: skip
    assert [day["date"] for day in told["days"]] == DAYS[:3]
    assert [day["precipitation_percent"] for day in told["days"]] == CHANCES[:3]
    assert told["days"][1]["weather"] == "slight rain"
    assert told["units"] == {"temperature": "°C", "precipitation": "mm", "wind": "km/h"}
    assert "Open-Meteo" in told["source"]
    asked = httpserver.log[-1][0].args
    assert (asked["latitude"], asked["timezone"], asked["forecast_days"]) == (
        "38.71667", "Europe/Lisbon", "3",
    )  # fmt: skip
    assert httpserver.log[-1][0].headers["User-Agent"].startswith("Crewmesh/")


@pytest.mark.parametrize("country", ["US", "united states", "Maine"])
def test_a_country_or_region_says_which_city_is_meant(call: Call, country: str) -> None:
    assert call("get_weather", city="Lisbon", country=country)["place"]["region"] == "Maine"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"city": "Atlantis"}, "no place named 'Atlantis' is known: check the spelling"),
        ({"city": "Lisbon", "country": "France"}, "no place named 'Lisbon' is known in France"),
    ],
)
@pytest.mark.parametrize("tool", ["get_weather", "get_time"])
def test_a_place_that_is_not_known_is_said_to_be_that(
    call: Call, tool: str, arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(ToolError, match=why):
        call(tool, **arguments)


def test_the_time_is_that_of_the_city(call: Call) -> None:
    before = dt.datetime.now(ZoneInfo("Asia/Tokyo")).replace(second=0, microsecond=0)
    told = call("get_time", city="Tokyo")
    after = dt.datetime.now(ZoneInfo("Asia/Tokyo"))
    said = dt.datetime.fromisoformat(f"{told['date']}T{told['time']}:00+09:00")
    assert before <= said <= after
    assert (told["city"], told["timezone"]) == ("Tokyo", "Asia/Tokyo")
    assert told["weekday"] == f"{said:%A}"


def test_without_a_city_the_time_is_utc_and_nobody_is_asked(
    call: Call, httpserver: HTTPServer
) -> None:
    assert call("get_time")["timezone"] == "UTC"
    assert httpserver.log == []


def test_a_topic_is_told_with_its_address(call: Call) -> None:
    told = call("look_up_topic", topic="Ada Lovelace")
    assert told["text"].startswith("Augusta Ada King")
    assert told["url"] == "https://en.wikipedia.org/wiki/Ada_Lovelace"
    for topic, why in [("Xyzzy", "no article about 'Xyzzy'"), ("broken", "Unrecognized value")]:
        with pytest.raises(ToolError, match=why):
            call("look_up_topic", topic=topic)


def test_money_is_converted_at_the_newest_rates(call: Call) -> None:
    told = call("convert_currency", source="eur", targets=["usd", "JPY", "USD"], amount=250)
    assert told["converted"] == [
        {"currency": "USD", "amount": 289.05, "rate": 1.1562, "date": "2026-11-23"},
        {"currency": "JPY", "amount": 45337.5, "rate": 181.35, "date": "2026-11-23"},
    ]
    for source, target, why in [
        ("XYZ", "USD", "no rates from XYZ"),
        ("EUR", "XYZ", "no rate for XYZ"),
    ]:
        with pytest.raises(ToolError, match=why):
            call("convert_currency", source=source, targets=[target])


def test_a_query_is_answered_by_its_tool(call: Call) -> None:
    told = call("run_query", query=" weather city=Lisbon days=2 ")
    assert (told["tool"], told["query"]) == ("get_weather", "weather city=Lisbon days=2")
    assert told["answer"] == call("get_weather", city="Lisbon", days=2)
    assert call("run_query", query="convert from=EUR to=USD")["answer"]["amount"] == 1.0


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("wether city=Lisbon", "can't be understood: there is no query 'wether'"),
        ("weather city=Lisbon days=99", "from 1 to 16"),
        ("weather city=X", "can't be answered: 'X': String should have at least 2 characters"),
        ("weather city=Atlantis", "no place named 'Atlantis'"),
    ],
)
def test_a_query_that_cannot_be_answered_is_told_why(call: Call, query: str, why: str) -> None:
    with pytest.raises(ToolError, match=re.escape(why)):
        call("run_query", query=query)


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"tools": {"denied": ["get_weather"]}}, "get_weather is not allowed here"),
        ({"tools": {"allowed": ["run_query", "get_time"]}}, "get_weather is not allowed here"),
        ({"approval": {"tools": ["get_weather"]}}, "get_weather needs a person's approval"),
    ],
)
def test_a_query_is_no_way_around_the_policy(
    call: Call, run: RunContext, httpserver: HTTPServer, policy: dict[str, Any], why: str
) -> None:
    run.policy = policy
    with pytest.raises(ToolError, match=why):
        call("run_query", query="weather city=Lisbon")
    assert httpserver.log == []


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"hosts": {"private": False}}, "only public addresses may be reached|private network"),
        (
            {"hosts": {"allowed": ["example.com"]}},
            "not among the hosts that the organisation allows",
        ),
        ({"hosts": "none"}, "an owner must correct it"),
    ],
)
def test_the_policy_of_hosts_holds_for_every_tool(
    call: Call, run: RunContext, httpserver: HTTPServer, policy: dict[str, Any], why: str
) -> None:
    run.policy = policy
    for tool, arguments in [
        ("get_weather", {"city": "Lisbon"}),
        ("look_up_topic", {"topic": "Ada Lovelace"}),
        ("convert_currency", {"source": "EUR", "targets": ["USD"]}),
    ]:
        with pytest.raises(ToolError, match=why):
            call(tool, **arguments)
    assert httpserver.log == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"response_data": "[]", "status": 200}, "in a form that isn't known here"),
        ({"response_data": '{"results": [{"name": "Lisbon"}]}', "status": 200}, "results.0.latitude"),
        ({"response_data": "<html>", "status": 502}, "answered 502 with text/plain instead of JSON"),
        ({"response_data": '{"error": true, "reason": "Minutely API request limit exceeded."}',
          "status": 429}, r"limit exceeded.*it gets too many requests: try again later"),
        ({"response_data": '{"error": true, "reason": "Bad name."}', "status": 400},
         r"answered 400 \(Bad name\.\): correct the arguments"),
    ],
)  # fmt: skip
def test_an_answer_that_is_wrong_is_not_made_anything_of(
    call: Call, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch,
    answer: dict[str, Any], why: str,
) -> None:  # fmt: skip
    httpserver.expect_request("/odd/v1/search").respond_with_data(**answer)
    monkeypatch.setenv(variable("geocoding_url"), httpserver.url_for("/odd/"))
    with pytest.raises(ToolError, match=why):
        call("get_weather", city="Lisbon")


def test_a_missing_network_is_said_to_be_that(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv(variable("geocoding_url"), f"http://127.0.0.1:{port}")
    with pytest.raises(ToolError, match=r"127\.0\.0\.1 can't be reached: .*has no network"):
        call("get_weather", city="Lisbon")
