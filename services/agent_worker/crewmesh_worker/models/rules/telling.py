"""What the assistant's tools returned, in words; every figure as the tool has it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from crewmesh_worker.models.rules.markdown import write_table
from crewmesh_worker.models.rules.prose import say_number
from crewmesh_worker.models.rules.requests import WEEKDAYS, Request

# From there on a day counts as wet.
_LIKELY_PERCENT, _WET_MILLIMETRES = 50, 0.5


def say_weather(value: dict[str, Any], request: Request) -> str:
    """Say the weather of the days that were meant."""
    units, days = value["units"], _meant(value["days"], request.days)
    where = f"**{_where(value['place'])}**"
    if not days:
        return f"{where}: there is no forecast for {request.days}."
    lines = []
    if request.wet:
        lines.append(_say_wet(days))
    if request.days == "all":
        now = value["now"]
        feels = f" (feels like {say_number(now['feels_like'])})" if "feels_like" in now else ""
        lines.append(
            f"{where}: {_amount(now.get('temperature'), units['temperature'])} now{feels}, "
            f"{now['weather']}, wind {_amount(now.get('wind'), units['wind'])}."
        )
    if len(days) == 1:
        lead = f"{where}, " if request.days != "all" else ""
        lines.append(f"{lead}{_day_name(days[0]['date'])}: {_say_day(days[0], units)}")
        return " ".join(lines)
    table = write_table(
        ["day", "weather", f"min {units['temperature']}", f"max {units['temperature']}",
         f"precipitation {units['precipitation']}", "chance %", f"wind {units['wind']}"],
        [[_day_name(day["date"]), day["weather"], *map(day.get, ("min", "max", "precipitation",
          "precipitation_percent", "wind"))] for day in days],
    )  # fmt: skip
    return " ".join(lines or [f"{where}:"]) + f"\n\n{table}"


def say_time(value: dict[str, Any], _: Request) -> str:
    """Say a place's date and time, or that of UTC."""
    where = f"In **{value['city']}** it" if value.get("city") else "It"
    return (
        f"{where} is **{value['time']}** on {value['weekday']}, {value['date']} "
        f"({value['timezone']})."
    )


def say_topic(value: dict[str, Any], _: Request) -> str:
    """Say how an article begins."""
    first = value["text"].split("\n")[0]
    return f"{first} ([{value['title']}]({value['url']}))"


def say_conversion(value: dict[str, Any], _: Request) -> str:
    """Say an amount in each of the other currencies."""
    amount = f"{say_number(value['amount'])} {value['currency']}"
    said = [
        f"**{say_number(one['amount'])} {one['currency']}** (rate {say_number(one['rate'])} of "
        f"{one['date']})"
        for one in value["converted"]
    ]
    return f"{amount} is {', '.join(said)}."


def say_query(value: dict[str, Any], request: Request) -> str:
    """Say the answer to a structured query, as its tool's is said."""
    text = SAYINGS[value["tool"]](value["answer"], request)
    place = value["answer"].get("place", {})
    known = {
        "population": place.get("population"),
        "elevation": f"{say_number(place['elevation'])} m" if "elevation" in place else None,
        "time zone": place.get("timezone"),
    }
    facts = [f"{name} {say_number(fact)}" for name, fact in known.items() if fact is not None]
    return f"{text}\n\n_{_where(place)}: {', '.join(facts)}._" if facts else text


SAYINGS: dict[str, Callable[[dict[str, Any], Request], str]] = {
    "get_weather": say_weather,
    "get_time": say_time,
    "look_up_topic": say_topic,
    "convert_currency": say_conversion,
    "run_query": say_query,
}


def _meant(days: list[dict[str, Any]], which: str) -> list[dict[str, Any]]:
    if which == "tomorrow":
        return days[1:2]
    if which == "weekend":
        return [day for day in days if _weekday(day["date"]) >= WEEKDAYS.index("saturday")]
    if which in WEEKDAYS:
        return [day for day in days if _weekday(day["date"]) == WEEKDAYS.index(which)][:1]
    return days


def _say_wet(days: list[dict[str, Any]]) -> str:
    wet = [day for day in days if _is_wet(day)]
    if not wet:
        return "No, it will probably stay dry."
    if len(days) == 1:
        return "Yes, probably."
    return f"Yes, probably on {', '.join(_day_name(day['date']) for day in wet)}."


def _is_wet(day: dict[str, Any]) -> bool:
    chance = day.get("precipitation_percent")
    if chance is not None:
        return bool(chance >= _LIKELY_PERCENT)
    return bool(day.get("precipitation", 0) >= _WET_MILLIMETRES)


def _say_day(day: dict[str, Any], units: dict[str, str]) -> str:
    chance = day.get("precipitation_percent")
    likely = f" ({say_number(chance)} % likely)" if chance is not None else ""
    return (
        f"{say_number(day.get('min', '?'))} to {_amount(day.get('max'), units['temperature'])}, "
        f"{day['weather']}, {_amount(day.get('precipitation'), units['precipitation'])} of "
        f"precipitation{likely}, wind up to {_amount(day.get('wind'), units['wind'])}."
    )


def _amount(value: Any, unit: str) -> str:
    return f"{say_number(value)} {unit}" if value is not None else f"unknown {unit}"


def _where(place: dict[str, Any]) -> str:
    return ", ".join(place[key] for key in ("name", "country") if place.get(key))


def _weekday(date: str) -> int:
    return dt.date.fromisoformat(date).weekday()


def _day_name(date: str) -> str:
    return f"{dt.date.fromisoformat(date):%A} {date}"
