"""Answers of queries in sentences, every number as the answer has it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from crewmesh_worker.models.rules.question import Query
from crewmesh_worker.models.rules.sql import AGGREGATE_WORDS, groups_limit
from crewmesh_worker.models.rules.table import Table

_LISTED_GROUPS = 8
_NAMED_TIES = 3
_WEAK, _MODERATE, _STRONG = 0.1, 0.4, 0.7


@dataclass(frozen=True)
class Answer:
    """What query_sql returned."""

    columns: list[str]
    rows: list[list[Any]]
    total: int


def say_number(value: Any) -> str:
    """Return a value as people write it: 1,461; 642.5; 2014-08-11."""
    if isinstance(value, float):
        return f"{value:,.6f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def measure_words(query: Query) -> str:
    """Return what is computed, in words: "average temp max"."""
    if query.measure is None:
        return f"number of {query.noun}"
    return f"{AGGREGATE_WORDS[query.aggregate]} {query.measure.words}"


def filter_words(query: Query) -> str:
    """Return the rows that count, in words: " (2014, weather = snow)"."""
    return f" ({', '.join(f.words for f in query.filters)})" if query.filters else ""


def say_scalar(query: Query, table: Table, answer: Answer) -> str:
    """Say one number."""
    value, counted = answer.rows[0]
    if query.aggregate == "distinct":
        return f"`{query.measured.name}` has **{say_number(value)}** different values."
    if query.measure is None and not query.filters:
        return f"The data has **{say_number(value)}** rows."
    if query.measure is None:
        return f"**{say_number(value)}** of {table.rows:,} {query.noun}{filter_words(query)}."
    if value is None:
        return f"No row fits{filter_words(query)}, so there is no {measure_words(query)}."
    return (
        f"The {measure_words(query)}{filter_words(query)} is **{say_number(value)}**, "
        f"over {say_number(counted)} rows."
    )


def say_share(query: Query, answer: Answer) -> str:
    """Say a part of the whole."""
    count, total, percent = answer.rows[0]
    return (
        f"**{say_number(percent)} %** of the {query.noun}{filter_words(query)}: "
        f"{say_number(count)} of {say_number(total)}."
    )


def say_groups(query: Query, answer: Answer) -> str:
    """Say one number for each group: all of them, or the ends of the ranking."""
    rows = answer.rows
    if not rows:
        return f"No row fits{filter_words(query)}."
    of = f"{measure_words(query)}{filter_words(query)}"
    if query.limit or (query.order is None and len(rows) <= _LISTED_GROUPS):
        listed = ", ".join(f"{key} (**{say_number(value)}**)" for key, value, *_ in rows)
        top = f"Top {len(rows)} by {of}" if query.limit else f"{_capital(of)}"
        return f"{top}: {listed}."
    ranked = sorted(rows, key=lambda row: row[1], reverse=query.order != "asc")
    tied = [str(key) for key, value, *_ in ranked if value == ranked[0][1]]
    if len(tied) == len(ranked) > 1:
        return f"All {len(ranked)} groups have the same {of}: **{say_number(ranked[0][1])}**."
    if query.measure is None and query.noun == "rows" and not query.filters:
        first, last = _ends(query, "most frequent", "least frequent")
        lead = f"{'is' if len(tied) == 1 else 'are'} the {first} {query.grouped.label}"
    else:
        first, last = _ends(query, "highest", "lowest")
        lead = f"{'has' if len(tied) == 1 else 'share'} the {first} {of}"
    value, *percent = ranked[0][1:]
    share = f" ({say_number(percent[0])} %)" if percent else ""
    complete = groups_limit(query) is None and answer.total == len(rows)
    return (
        f"{_names(tied)} {lead}: **{say_number(value)}**{share}"
        f"{_rest(last, ranked[len(tied) :], complete=complete)}."
    )


def _ends(query: Query, high: str, low: str) -> tuple[str, str]:
    return (high, low) if query.order != "asc" else (low, high)


def _names(tied: list[str]) -> str:
    names = [f"**{name}**" for name in tied[:_NAMED_TIES]]
    if len(tied) > _NAMED_TIES:
        names.append(f"{len(tied) - _NAMED_TIES} more")
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _rest(end: str, following: list[list[Any]], *, complete: bool) -> str:
    """Name the group after the first, and the last one if it is alone there."""
    if not following:
        return ""
    second, last = following[0], following[-1]
    text = f", followed by {second[0]} with {say_number(second[1])}"
    alone = len(following) > 1 and following[-2][1] != last[1]
    if complete and alone:
        text += f"; the {end} is {last[0]} with {say_number(last[1])}"
    return text


def say_rows(query: Query, answer: Answer) -> str:
    """Name the rows at one end of a ranking."""
    if not answer.rows:
        return f"No row fits{filter_words(query)}."
    end = "highest" if query.order != "asc" else "lowest"
    of = f"{end} {query.measured.words}{filter_words(query)}"
    if len(answer.columns) == 1:
        return f"The {of} is **{say_number(answer.rows[0][0])}**."
    names = [", ".join(str(cell) for cell in row[:-1]) for row in answer.rows]
    values = [say_number(row[-1]) for row in answer.rows]
    listed = [f"{name} ({value})" for name, value in zip(names, values, strict=True)]
    if query.limit and query.limit > 1:
        return f"The {len(listed)} {query.noun} with the {of}: {', '.join(listed)}."
    following = f"; next are {', '.join(listed[1:4])}" if listed[1:] else ""
    return f"**{names[0]}** has the {of}: **{values[0]}**{following}."


def say_years(query: Query, answer: Answer) -> str:
    """Say how a yearly average moved from its first year to its last."""
    rows = [row for row in answer.rows if row[1] is not None]
    if len(rows) < 2:
        return "There are not enough years for a development."
    (first_year, first), (last_year, last) = rows[0][:2], rows[-1][:2]
    moved = "rose" if last > first else "fell" if last < first else "came back"
    text = (
        f"The {measure_words(query)}{filter_words(query)} {moved} from **{say_number(first)}** in "
        f"{first_year} to **{say_number(last)}** in {last_year}"
    )
    peak, low = max(rows, key=lambda row: row[1]), min(rows, key=lambda row: row[1])
    between = [(name, row) for name, row in (("highest", peak), ("lowest", low))
               if row[0] not in (first_year, last_year)]  # fmt: skip
    extremes = [f"the {name} was {say_number(row[1])} in {row[0]}" for name, row in between]
    return "; ".join([text, *extremes]) + "."


def say_slope(query: Query, answer: Answer) -> str:
    """Say a straight line's change per year, and whether there is one at all."""
    change, fit, counted = answer.rows[0]
    if change is None or fit is None:
        return "There is too little data for a development."
    # Beyond two standard errors of a correlation of zero.
    clear = abs(fit) * math.sqrt(counted) > 2
    verdict = ""
    if query.supposed:
        right = (change > 0) == (query.supposed > 0)
        verdict = ("Yes: " if right else "No: ") if clear else "Not clearly: "
    steady = "a steady course" if abs(fit) >= _MODERATE else "much up and down around it"
    strength = f"with {steady}" if clear else "which may well be chance"
    moves = "rises" if change > 0 else "falls"
    name = query.measured.words if verdict else _capital(query.measured.words)
    return (
        f"{verdict}{name} {moves} by **{say_number(abs(change))}** a year along a "
        f"straight line through all rows, {strength} (correlation with time {say_number(fit)})."
    )


def say_relation(first: str, second: str, correlation: float | None) -> str:
    """Say how closely two measures move together."""
    if correlation is None:
        return f"{_capital(first)} and {second} can't be correlated: one of them is constant."
    return f"{_capital(first)} and {second} {_together(correlation)}."


def say_pair(answer: Answer) -> str:
    """Say which two measures are most closely related."""
    pair, correlation = answer.rows[0]
    if correlation is None:
        return "No two measures can be correlated."
    return f"Most closely related: {pair} {_together(correlation)}."


def _together(correlation: float) -> str:
    size = abs(correlation)
    words = ((_STRONG, "strongly"), (_MODERATE, "moderately"), (_WEAK, "weakly"), (0, "hardly"))
    word = next(word for least, word in words if size >= least)
    together = "together" if correlation > 0 else "in opposite directions"
    return f"{word} move {together} (correlation **{say_number(correlation)}**)"


def say_bands(query: Query, answer: Answer) -> str:
    """Say what the second measure is at the two ends of the first."""
    assert query.other is not None
    if not answer.rows:
        return f"No row fits{filter_words(query)}."
    low, high = answer.rows[0], answer.rows[-1]
    first, second = query.measured.words, query.other.words
    return (
        f"In the tenth of rows with the lowest {first} (average {say_number(low[0])}) the average "
        f"{second} is {say_number(low[1])}; with the highest (average {say_number(high[0])}) it is "
        f"{say_number(high[1])}."
    )


def say_spread(query: Query, answer: Answer) -> str:
    """Say where a measure's values lie."""
    if answer.rows[0][0] is None:
        return f"No row fits{filter_words(query)}."
    low, lower, middle, upper, high = map(say_number, answer.rows[0])
    return (
        f"{_capital(query.measured.words)}{filter_words(query)} goes from {low} to {high}; "
        f"half of the rows lie between {lower} and {upper}, around a median of **{middle}**."
    )


def say_bins(query: Query, answer: Answer) -> str:
    """Say which step of a measure holds the most rows."""
    if not answer.rows:
        return f"No row fits{filter_words(query)}."
    start, count = max(answer.rows, key=lambda row: row[1])
    return (
        f"The most rows, {say_number(count)}, have {query.measured.words} in the step that starts "
        f"at {say_number(start)}."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
