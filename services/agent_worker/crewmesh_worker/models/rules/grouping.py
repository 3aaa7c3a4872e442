"""What a question wants its rows grouped by."""

from __future__ import annotations

from crewmesh_worker.models.rules.question import Filter, Group, Order
from crewmesh_worker.models.rules.table import Table
from crewmesh_worker.models.rules.text import Text
from crewmesh_worker.models.rules.words import (
    LEAST,
    MOST,
    QUALITIES,
    UNITS,
    quality_of,
    singular,
    vocabulary,
)

_GROUPERS, _BEFORE_GROUP = vocabulary("grouper"), vocabulary("before_group")


def take_group(
    text: Text, table: Table, filters: list[Filter], noun_places: list[int]
) -> Group | None:
    """Take "by origin", "per year", "which month", "monthly"; else group what is compared.

    Adds to `noun_places` where "which" is followed by something that is no group.
    """
    if any(text.phrase(phrase) for phrase in ("day of the week", "days of the week")):
        return _unit(table, "weekday")
    for place, word in enumerate(text.words):
        if text.used[place] or place in text.names:
            continue
        if word in UNITS and word != UNITS[word] and word != "date":
            if group := _unit(table, UNITS[word]):
                text.take(place)
                return group
        elif word in _GROUPERS:
            target = place + 1
            while target < len(text.words) and text.words[target] in _BEFORE_GROUP:
                target += 1
            if group := _group_at(text, table, target, ranking=bool(noun_places)):
                text.take(place)
                return group
            if word in ("which", "what"):
                noun_places.append(target)
    if compared := next((f.compared for f in filters if f.compared), None):
        return compared
    return _unit(table, "day") if text.words[0] == "when" else None


def take_ranked_unit(text: Text, table: Table) -> Group | None:
    """Take a unit of time that is ranked: "the wettest month", "top 3 months"."""
    for place, word in enumerate(text.words):
        unit = UNITS.get(singular(word))
        if not unit or text.used[place] or not place:
            continue
        counted = text.words[place - 1].isdecimal()
        if (counted or rank_of(text, place - 1)) and (group := _unit(table, unit)):
            text.take(place)
            return group
    return None


def rank_of(text: Text, place: int) -> Order | None:
    """Return which end of a ranking the word at a place asks for, if it does."""
    word, before = text.words[place], text.before(place)
    if word in MOST or word in LEAST:
        return "desc" if word in MOST else "asc"
    quality = quality_of(word)
    if quality and (word != quality or before in ("most", "least")):
        return "desc" if QUALITIES[quality] == (before != "least") else "asc"
    return None


def _group_at(text: Text, table: Table, place: int, *, ranking: bool) -> Group | None:
    if place >= len(text.words) or text.used[place]:
        return None
    unit = UNITS.get(singular(text.words[place]))
    if unit and (group := _unit(table, unit)):
        text.take(place)
        return group
    named = text.names.get(place)
    columns = [named] if named else list(table.columns)
    columns = [c for c in columns if c.is_category or c.type == "VARCHAR" or (named and c.is_date)]
    # "top 5 cars by horsepower" ranks by a number.
    columns = [c for c in columns if not (ranking and c.is_number)]
    near = range(place, min(place + 3, len(text.words)))
    found = text.find_column(columns, near)
    if found is None or found[1][0] != place:
        return None
    text.take_column([found[0]], near)
    return Group(found[0])


def _unit(table: Table, unit: str) -> Group | None:
    column = next((c for c in table.columns if c.tokens == [unit]), None)
    if column and not column.is_date:
        return Group(column)
    date = column or table.date
    return Group(date, unit) if date else None
