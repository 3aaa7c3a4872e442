"""Which rows a question is about: points in time, thresholds, values of categories."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crewmesh_worker.models.rules.question import Filter, Group
from crewmesh_worker.models.rules.sql import literal, quote, year_of
from crewmesh_worker.models.rules.table import Column, Table
from crewmesh_worker.models.rules.text import Text
from crewmesh_worker.models.rules.words import (
    LEAST,
    MONTHS,
    MOST,
    QUALITIES,
    STOP,
    quality_of,
    value_forms,
    words_of,
)

_BEFORE = {"since": ">=", "from": ">=", "after": ">", "before": "<", "until": "<="}
_IN_TIME = frozenset([*_BEFORE, "in", "during", "year", "of", "for", "between", "to", "and", "or"])
_ABOVE = frozenset(["above", "over", "exceeding", "exceeded", "exceed", ">"])
_BELOW = frozenset(["below", "under", "<"])
# English words too: they mean a month only after one of these.
_AMBIGUOUS_MONTHS = frozenset(["may", "march"])
_ROWS = frozenset(["day", "days", "row", "rows", "record", "records", "entry", "entries"])


def take_filters(text: Text, table: Table, *, counting: bool) -> list[Filter]:
    """Take every condition; `counting` says that rows are counted, not measured."""
    filters = _take_times(text, table) + _take_thresholds(text, table)
    filters += _take_values(text, table, counting=counting)
    # Conditions hold together; one "or" the other can't be said.
    if len(filters) < 2:
        text.takes({"or"})
    return filters


def _take_times(text: Text, table: Table) -> list[Filter]:
    filters = []
    if date := table.date:
        filters += _take_months(text, date)
    if years := table.years:
        filters += _take_years(text, years)
    return [replace(found, of_time=True) for found in filters]


def _take_months(text: Text, date: Column) -> list[Filter]:
    places = [
        index
        for index, word in enumerate(text.words)
        if word in MONTHS and (word not in _AMBIGUOUS_MONTHS or text.before(index) in _IN_TIME)
    ]
    if not places:
        return []
    text.take(*places)
    numbers = [MONTHS.index(text.words[index]) + 1 for index in places]
    names = " and ".join(text.words[index].capitalize() for index in places)
    condition = f"month({quote(date.name)}) IN ({', '.join(map(str, numbers))})"
    return [Filter(condition, names, Group(date, "month") if len(numbers) > 1 else None)]


def _take_years(text: Text, column: Column) -> list[Filter]:
    places = [i for i in range(len(text.words)) if _is_year(text, i, column)]
    if not places:
        return []
    text.take(*places)
    years = [int(text.words[index]) for index in places]
    year = year_of(column)
    prefix = text.before(places[0])
    if prefix in _BEFORE:
        text.take(places[0] - 1)
    if len(years) == 2 and prefix in ("between", "from"):
        return [Filter(f"{year} BETWEEN {years[0]} AND {years[1]}", f"{years[0]} to {years[1]}")]
    if len(years) > 1:
        listed = ", ".join(map(str, years))
        group = Group(column, "year" if column.is_date else None)
        return [Filter(f"{year} IN ({listed})", listed.replace(", ", " and "), group)]
    if operator := _BEFORE.get(prefix):
        return [Filter(f"{year} {operator} {years[0]}", f"{prefix} {years[0]}")]
    return [Filter(f"{year} = {years[0]}", str(years[0]), one_year=True)]


def _is_year(text: Text, index: int, column: Column) -> bool:
    word = text.words[index]
    if text.used[index] or not (word.isdecimal() and len(word) == 4):
        return False
    first, last = int(column.min[:4] or 0), int(column.max[:4] or 0)
    return first <= int(word) <= last or text.before(index) in _IN_TIME


def _take_thresholds(text: Text, table: Table) -> list[Filter]:
    """Take comparisons with numbers: "above 30 degrees", "more than 200 horsepower"."""
    filters = []
    for index in range(len(text.words)):
        found = _comparison(text, index) or _equality(text, table, index)
        column = found and _compared_column(text, table, index, found)
        if not found or not column:
            continue
        text.take(*range(index, found.end))
        if found.operator == "between":
            condition = f"BETWEEN {found.numbers[0]} AND {found.numbers[1]}"
            words = f"{column.name} {found.numbers[0]} to {found.numbers[1]}"
        else:
            condition = f"{found.operator} {found.numbers[0]}"
            words = f"{column.name} {condition}"
        filters.append(Filter(f"{quote(column.name)} {condition}", words))
    return filters


@dataclass(frozen=True)
class _Comparison:
    operator: str
    numbers: tuple[str, ...]
    # The place after its last word.
    end: int


def _comparison(text: Text, index: int) -> _Comparison | None:
    """Return the comparison that starts at a place, if one does."""
    word, after = text.words[index], text.after(index)
    if word == "between":
        low, high = text.number(index + 1), text.number(index + 3)
        if low and high and text.after(index + 1) == "and":
            return _Comparison("between", (low, high), index + 4)
        return None
    operator, start = "", index + 1
    if word in _ABOVE or word in _BELOW:
        operator = ">" if word in _ABOVE else "<"
    elif word in (">=", "<="):
        operator = word
    elif word == "at" and after in ("least", "most"):
        operator, start = (">=" if after == "least" else "<="), index + 2
    elif after == "than" and (more := _is_more(word)) is not None:
        operator, start = (">" if more else "<"), index + 2
    number = text.number(start)
    return _Comparison(operator, (number,), start + 1) if operator and number else None


def _equality(text: Text, table: Table, index: int) -> _Comparison | None:
    """Return "8 cylinders" as a comparison, if such a one starts at a place."""
    number = text.number(index)
    counted = [column for column in table.numbers if column.is_category]
    if number and text.find_column(counted, range(index + 1, min(index + 2, len(text.words)))):
        return _Comparison("=", (number,), index + 1)
    return None


def _is_more(word: str) -> bool | None:
    if word in MOST or word in LEAST:
        return word in MOST
    quality = quality_of(word)
    return QUALITIES[quality] if quality else None


def _compared_column(text: Text, table: Table, start: int, found: _Comparison) -> Column | None:
    """Return the column of a threshold: named after it, by it ("hotter"), or before it."""
    size = len(text.words)
    after, before = range(found.end, min(found.end + 3, size)), range(max(0, start - 4), start)
    for places in (after, range(start, found.end), before):
        if match := text.take_column(table.numbers, places):
            return match[0]
    return None


def _take_values(text: Text, table: Table, *, counting: bool) -> list[Filter]:
    """Take values of categories: "snow", "Japanese", "New York".

    A word that also speaks of a number ("rain") is a value only of rows that are
    counted or named: "days of rain", "rainy days".
    """
    filters = []
    for column in table.categories:
        values = [value for value in column.values if _take_value(text, table, value, counting)]
        if values:
            listed = ", ".join(map(literal, values))
            name = quote(column.name)
            condition = f"{name} IN ({listed})" if len(values) > 1 else f"{name} = {listed}"
            words = f"{column.name} = {' or '.join(values)}"
            filters.append(Filter(condition, words, Group(column) if len(values) > 1 else None))
    return filters


def _take_value(text: Text, table: Table, value: str, counting: bool) -> bool:
    wanted = words_of(value)
    for start in range(len(text.words) - len(wanted) + 1 if wanted else 0):
        places = range(start, start + len(wanted))
        if any(text.used[i] or text.names.get(i) for i in places):
            continue
        said = [text.words[i] for i in places]
        # A value that is also an everyday word ("I", "on") must be more than that.
        if all(word in STOP for word in said):
            continue
        if not all(w in value_forms(word) for w, word in zip(wanted, said, strict=True)):
            continue
        measured = text.find_column(table.numbers, places) is not None
        if measured and not counting and text.after(places[-1]) not in _ROWS:
            continue
        text.take(*places)
        return True
    return False
