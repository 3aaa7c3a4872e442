"""The assistant crew with the offline model: each kind of message, through a real runner."""

from __future__ import annotations

import datetime as dt

import pytest
from pytest_httpserver import HTTPServer

from crewmesh_worker.runner.pool import RunnerPool

from .crews import RunCrew, runs_crews

pytestmark = pytest.mark.long

HISTORY = """user: My name is Ana.
assistant: Hello, Ana.
user: What's the weather in Lisbon, Portugal?
assistant: 17.4 °C,
partly cloudy."""
NEVER = "which follows rules and is no language model"


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ("hello", "Hello!"),
        ("Help!", "What did I ask before?"),
        ("Hi! What can you do?", "Hello!"),
        ("thanks", "welcome"),
    ],
)
async def test_a_simple_message_is_answered_by_keyword_with_no_model_call(
    run_crew: RunCrew, message: str, part: str
) -> None:
    done = await run_crew("assistant", message=message)
    assert part in done.answer
    assert NEVER not in done.answer
    assert done.model_calls == 0
    assert [type_ for type_, _ in done.events] == ["task.started", "task.completed"]
    (started,), (completed,) = done.of("task.started"), done.of("task.completed")
    assert started == {"index": 0, "total": 1, "description": "Answered by keyword."}
    assert completed == {"index": 0, "duration_ms": 0, "output": done.answer}
    assert {m.event.task for m in done.messages if m.HasField("event")} == {"answer"}
    assert done.messages[-1].finished.usage.total_tokens == 0


async def test_the_time_is_answered_by_keyword_in_utc(run_crew: RunCrew) -> None:
    before = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    answer = (await run_crew("assistant", message="What time is it?")).answer
    after = dt.datetime.now(dt.UTC)
    said = {f"It is {now:%H:%M} UTC on {now:%A}, {now:%Y-%m-%d}." for now in (before, after)}
    assert any(answer.startswith(text) for text in said)


async def test_the_weather_is_answered_with_what_the_api_says(run_crew: RunCrew) -> None:
    done = await run_crew("assistant", message="What's the weather in Lisbon?")
    assert (
        "**Lisbon, Portugal**: 17.4 °C now (feels like 16.2), partly cloudy, wind 11.9 km/h. "
        "Tuesday 2026-11-24: 12.1 to 18.3 °C, overcast, 0 mm of precipitation (10 % likely), wind up "
        "to 15.5 km/h." in done.answer
    )
    assert "Sources: Weather data by Open-Meteo.com (CC BY 4.0)." in done.answer
    assert done.answer.endswith(f"{NEVER}._")
    assert done.tools == ["get_weather"]
    assert done.model_calls == 2


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("Will it rain in Lisbon tomorrow?", ["Yes, probably. **Lisbon, Portugal**, Wednesday 2026-11-25:",
         "13.1 to 19.3 °C, slight rain, 6.4 mm of precipitation (85 % likely)"]),
        ("Do I need an umbrella in Lisbon on Friday?", ["No, it will probably stay dry.",
         "Friday 2026-11-27"]),
        ("Weather in Lisbon this weekend", ["| Saturday 2026-11-28 | partly cloudy | 16.1 | 22.3 |",
         "| Sunday 2026-11-29 | fog |"]),
        ("Will it snow in Lisbon over the next 3 days?",
         ["Yes, probably on Wednesday 2026-11-25, Thursday 2026-11-26.", "| Tuesday 2026-11-24 |"]),
        ("What is the weather?", ["For which city?"]),
        ("Weather in Atlantis?", ["This could not be answered: no place named 'Atlantis' is known"]),
        ("250 EUR in USD and yen", ["250 EUR is **289.05 USD** (rate 1.1562 of 2026-11-23), **",
         "**45,337.5 JPY** (rate 181.35 of 2026-11-23)."]),
        ("Who was Ada Lovelace?", ["Augusta Ada King, Countess of Lovelace",
         "([Ada Lovelace](https://en.wikipedia.org/wiki/Ada_Lovelace))", "Sources: Wikipedia"]),
        ("What time is it in Tokyo?", ["In **Tokyo** it is **", "(Asia/Tokyo)."]),
        ("Sing me a song", ["Rules can't answer “Sing me a song”"]),
    ],
)  # fmt: skip
async def test_one_question(run_crew: RunCrew, message: str, parts: list[str]) -> None:
    answer = (await run_crew("assistant", message=message)).answer
    assert [part for part in parts if part not in answer] == []


async def test_several_questions_in_one_message_are_answered_one_by_one(run_crew: RunCrew) -> None:
    message = (
        "Hi! What's the weather in Lisbon and what time is it there? 100 eur to gbp?\nAnd in Tokyo?"
    )
    done = await run_crew("assistant", message=message)
    headings = [
        line for line in done.answer.splitlines() if line.startswith("**") and "?" in line[-4:]
    ]
    assert headings == ["**what time is it there?**", "**100 eur to gbp?**", "**And in Tokyo?**"]
    assert "**What's the weather in Lisbon**\n\n**Lisbon, Portugal**: 17.4 °C now" in done.answer
    assert "(Europe/Lisbon)" in done.answer
    assert "100 EUR is **88.01 GBP**" in done.answer
    assert "In **Tokyo** it is" in done.answer.split("**And in Tokyo?**")[1]
    assert sorted(done.tools) == ["convert_currency", "get_time", "get_time", "get_weather"]


async def test_a_structured_query_is_parsed_and_enriched(run_crew: RunCrew) -> None:
    done = await run_crew("assistant", message="weather city=Lisbon days=3")
    assert done.of("tool.started")[0]["arguments"] == {"query": "weather city=Lisbon days=3"}
    assert (
        "| Thursday 2026-11-26 | slight rain showers | 14.1 | 20.3 | 2.2 | 60 | 17.5 |"
        in done.answer
    )
    assert (
        "_Lisbon, Portugal: population 517,802, elevation 45 m, time zone Europe/Lisbon._"
        in done.answer
    )


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("weather ctiy=Lisbon", "weather has no 'ctiy' (did you mean 'city'?)"),
        ("weather city=Lisbon days=99", "days=99: a whole number from 1 to 16 is needed"),
        ("wether city=Lisbon", "there is no query 'wether' (did you mean 'weather'?)"),
    ],
)
async def test_a_structured_query_that_is_wrong_is_told_what_is_wrong(
    run_crew: RunCrew, httpserver: HTTPServer, query: str, why: str
) -> None:
    done = await run_crew("assistant", message=query)
    assert "This could not be answered: the query can't be understood: " in done.answer
    assert why in done.answer
    assert httpserver.log == []


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (
            "What did I ask before?",
            "- “My name is Ana.”\n- “What's the weather in Lisbon, Portugal?”",
        ),
        ("What was my last question?", "asked:\n\n- “What's the weather in Lisbon, Portugal?”\n"),
        ("What was my first question?", "asked:\n\n- “My name is Ana.”\n"),
        ("What did you say?", "I said:\n\n> 17.4 °C, partly cloudy."),
        ("What is my name?", "You said that your name is Ana."),
        ("And in Tokyo?", "**Tokyo, Japan**: 17.4 °C now"),
        ("And tomorrow?", "**Lisbon, Portugal**, Wednesday 2026-11-25"),
        ("What time is it there?", "In **Lisbon** it is"),
    ],
)
async def test_what_was_said_before_is_known(run_crew: RunCrew, message: str, part: str) -> None:
    assert part in (await run_crew("assistant", message=message, history=HISTORY)).answer


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ("What did I ask before?", "You have not asked anything before"),
        ("What did you say?", "I have not said anything yet."),
        ("What is my name?", "You have not told me."),
    ],
)
async def test_without_a_history_nothing_was_said(
    run_crew: RunCrew, message: str, part: str
) -> None:
    assert part in (await run_crew("assistant", message=message)).answer


async def test_a_host_that_the_operator_has_not_opened_is_not_reached(
    pool: RunnerPool, run_crew: RunCrew, httpserver: HTTPServer
) -> None:
    closed = runs_crews(pool, {"CREWMESH_GEOCODING_URL": httpserver.url_for("")})
    done = await closed("assistant", message="Weather in Lisbon?")
    assert "127.0.0.1 is loopback, and only public addresses may be reached" in done.answer
    assert httpserver.log == []
