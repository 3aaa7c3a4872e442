"""What each part of a message asks for, read by rule: a tool and its arguments."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crewmesh_worker.messages.queries import is_query

_VOCABULARY = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_WEATHER = frozenset(_VOCABULARY["weather"].split())
_WET = frozenset(_VOCABULARY["wet"].split())
_PERSONAL = frozenset(_VOCABULARY["personal"].split())
_CODES = {
    name: code.upper() for code, names in _VOCABULARY["currency"].items() for name in names.split()
}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEK, _MOST_DAYS = 7, 16
_NUMBERS = {
    word: n for n, word in enumerate(["two", "three", "four", "five", "six", "seven"], start=2)
}

# When: what is taken out of the text, which days that is.
_NEXT_DAYS = re.compile(
    r"\b(?:(?:for|over|in|during)\s+)?(?:the\s+)?(?:next|coming)\s+"
    rf"(\d{{1,2}}|{'|'.join(_NUMBERS)})?\s*days\b|\bfor\s+(\d{{1,2}}|{'|'.join(_NUMBERS)})\s+days\b"
)
_WHEN = re.compile(
    r"\b(?:(?:on|for|over|during)\s+)?(?:(?:this|next|the|coming)\s+)*"
    rf"(today|tonight|tomorrow|now|right now|currently|weekend|week|{'|'.join(WEEKDAYS)})\b"
)
_PLACE = re.compile(r"\b(?:in|for|at|of)\s+(.+)$")
_WEATHER_FIRST = re.compile(r"^(?:the\s+)?(?:weather|forecast|temperature)\s+(.+)$")
_WEATHER_LAST = re.compile(r"^(.+?)(?:'s)?\s+(?:weather|forecast|temperature)$")
_TIME = re.compile(
    r"\bwhat(?:'s| is)?\s+(?:the\s+)?(?:current\s+|local\s+)?(?:time|date|day)\b|"
    r"\b(?:current|local)\s+time\b|^(?:the\s+)?time\s+(?:in|at)\b|\btoday's date\b"
)
_TOPIC = re.compile(
    r"^(?:please\s+)?(?:(?:who|what)(?:'s|\s+is|\s+are|\s+was|\s+were)|tell me (?:something )?about|"
    r"(?:can|could) you tell me about|define|explain|describe|look up|search (?:wikipedia )?for)\s+"
    r"(?:(?:the|a|an)\s+)?(.+)$",
    re.IGNORECASE,
)
_AND = re.compile(r"^(?:and|also)\s+", re.IGNORECASE)
_FOLLOW_UP = re.compile(r"^(?:and|what about|how about|and what about)\b\s*(.*)$", re.IGNORECASE)

_CURRENCY = rf"(?:[a-z]{{3}}|{'|'.join(re.escape(name) for name in sorted(_CODES, key=len)[::-1])})"
_AMOUNT = r"(\d[\d.,]*)"
_CONVERT = re.compile(
    rf"(?:{_AMOUNT}\s*)?(?<!\w)({_CURRENCY})(?!\w)\s+(?:in|to|into|as|worth in)\s+"
    rf"({_CURRENCY}(?:\s*(?:,|and|, and)\s*{_CURRENCY})*)$"
)
_HOW_MUCH = re.compile(
    rf"how (?:many|much)\s+({_CURRENCY})\s+(?:is|are|for|do i get for)\s+"
    rf"(?:{_AMOUNT}\s*)?({_CURRENCY})$"
)


@dataclass(frozen=True)
class Request:
    """One part of a message.

    `tool` is "" where no tool answers it. `days` says which days of a forecast are meant:
    "all", "tomorrow", "weekend" or a weekday.
    """

    part: str
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    days: str = "all"
    wet: bool = False
    # It needs a place, and names none.
    placeless: bool = False


def read_requests(parts: Sequence[str], earlier: Sequence[str] = ()) -> list[Request]:
    """Return a request for each part; `earlier` are the parts of the user's earlier messages.

    A part such as "And in Porto?" or "What time is it there?" is understood from what came
    before it.
    """
    before = _last([_read(part, None) for part in earlier])
    requests = []
    for part in parts:
        request = _read(part, before)
        requests.append(request)
        before = _last([request]) or before
    return requests


def _last(requests: Sequence[Request]) -> Request | None:
    """Return the last request that names a place."""
    return next((r for r in reversed(requests) if r.arguments.get("city")), None)


def _read(part: str, before: Request | None) -> Request:
    if is_query(part):
        return Request(part, "run_query", {"query": part})
    request = _ask(part, _AND.sub("", part), before)
    follow_up = _FOLLOW_UP.match(_plain(part))
    if follow_up and before and not request.tool:
        return _follow(part, follow_up[1], before)
    return request


def _ask(part: str, question: str, before: Request | None) -> Request:
    """Return what a question asks for by itself."""
    text = _plain(question)
    words = set(re.findall(r"[\w-]+", text))
    if conversion := _conversion(text):
        return Request(part, "convert_currency", conversion)
    if words & _WEATHER:
        return _weather(part, text, bool(words & _WET), before)
    if _TIME.search(text):
        return _time(part, text, before)
    topic = _topic(question)
    return Request(part, "look_up_topic", {"topic": topic}) if topic else Request(part)


def _weather(part: str, text: str, wet: bool, before: Request | None) -> Request:
    count, days, rest = _when(text)
    place = _place(rest) or _there(rest, before)
    arguments = {**place, "days": count}
    return (
        Request(part, "get_weather", arguments, days, wet)
        if place
        else Request(part, placeless=True)
    )


def _time(part: str, text: str, before: Request | None) -> Request:
    _, _, rest = _when(text)
    return Request(part, "get_time", _place(rest) or _there(rest, before))


def _follow(part: str, rest: str, before: Request) -> Request:
    """Return the earlier request again, with another place or other days."""
    count, days, left = _when(rest)
    place = _place(left) or _place(f"in {left}")
    arguments = {**before.arguments, **place}
    if place and "country" not in place:
        arguments.pop("country", None)
    changed = replace(before, part=part, arguments=arguments)
    if before.tool == "get_weather" and left != rest:
        changed = replace(changed, arguments={**arguments, "days": count}, days=days)
    return changed


def _when(text: str) -> tuple[int, str, str]:
    """Return how many days are needed, which of them are meant, and the text without that."""
    if match := _NEXT_DAYS.search(text):
        said = match[1] or match[2] or "3"
        count = _NUMBERS.get(said) or int(said)
        return min(max(count, 1), _MOST_DAYS), "all", _without(text, match)
    count, days = 1, "all"
    while match := _WHEN.search(text):
        word = match[1]
        if word == "tomorrow":
            count, days = 2, word
        elif word == "week":
            count = _WEEK
        elif word == "weekend" or word in WEEKDAYS:
            count, days = _WEEK, word
        text = _without(text, match)
    return count, days, text


def _without(text: str, match: re.Match[str]) -> str:
    return " ".join((text[: match.start()] + " " + text[match.end() :]).split())


def _place(text: str) -> dict[str, str]:
    """Return the city and the country that a text names at its end, or beside "weather"."""
    match = _PLACE.search(text) or _WEATHER_FIRST.search(text) or _WEATHER_LAST.search(text)
    named = re.sub(r"^(?:the|like|be|in|for)\s+", "", match[1]).strip(" ,") if match else ""
    city, _, country = named.partition(",")
    words = set(city.split())
    if len(city) < 2 or words & (_WEATHER | _PERSONAL) or named.startswith("what"):
        return {}
    country = country.strip()
    place = {"city": city.strip().title()}
    return place | ({"country": _country(country)} if country else {})


def _country(name: str) -> str:
    return name.upper() if len(name) == 2 else name.title()


def _there(text: str, before: Request | None) -> dict[str, str]:
    """Return the place of the request before, where a text says "there"."""
    if before is None or not re.search(r"\bthere\b", text):
        return {}
    return {k: v for k, v in before.arguments.items() if k in ("city", "country")}


def _conversion(text: str) -> dict[str, Any]:
    if match := _HOW_MUCH.search(text):
        targets, amount, source = [match[1]], match[2], match[3]
    elif match := _CONVERT.search(text):
        amount, source = match[1], match[2]
        targets = re.split(r"\s*(?:,\s*and|,|\band)\s*", match[3])
    else:
        return {}
    codes = [_code(name) for name in (source, *targets)]
    named = any(name in _CODES for name in (source, *targets))
    # Any three letters may be a code; that they are one, figures or a currency's name show.
    if not all(codes) or not (named or amount or "rate" in text or "convert" in text):
        return {}
    value = float((amount or "1").rstrip(".,").replace(",", ""))
    return {"source": codes[0], "targets": codes[1:], "amount": value} if value else {}


def _code(name: str) -> str:
    return _CODES.get(name) or (name.upper() if re.fullmatch(r"[a-z]{3}", name) else "")


def _topic(part: str) -> str:
    match = _TOPIC.match(part.strip())
    topic = match[1].strip(' .?!"“”') if match else ""
    words = set(re.findall(r"\w+", topic.lower()))
    return "" if words & _PERSONAL else topic


def _plain(part: str) -> str:
    text = part.replace("\u2019", "'").lower().strip(" .?!")
    return " ".join(text.split())
