"""Which queries answer a question, and what each of their answers says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from crewmesh_worker.models.rules import prose, sql
from crewmesh_worker.models.rules.prose import Answer, filter_words, measure_words
from crewmesh_worker.models.rules.question import Group, Query, Reading
from crewmesh_worker.models.rules.table import Column, Table
from crewmesh_worker.models.rules.words import vocabulary

_ADDITIVE = vocabulary("additive")
_MAX_CORRELATED = 8
_MAX_FINDINGS = 8


@dataclass(frozen=True)
class Finding:
    """One query and how its answer reads."""

    title: str
    sql: str
    say: Callable[[Answer], str]


@dataclass(frozen=True)
class Plan:
    """The queries for a question. `answering` is how many of them, from the first, answer it."""

    findings: list[Finding]
    answering: int
    # What was not understood, or taken for granted; empty where nothing was.
    note: str = ""


def plan_findings(reading: Reading, table: Table) -> Plan:
    """Return the queries that answer a question, or that show the most where it can't be read."""
    if not reading.queries or any(query.kind == "open" for query in reading.queries):
        overview = _overview(table)
        return Plan(overview, len(overview), _note(reading, table))
    direct = [f for query in reading.queries for f in _DIRECT[query.kind](query, table)]
    background = [f for query in reading.queries for f in _background(query, table)]
    unique: dict[str, Finding] = {}
    for finding in direct + background:
        unique.setdefault(finding.sql, finding)
    answering = len({finding.sql for finding in direct})
    findings = list(unique.values())[:_MAX_FINDINGS]
    return Plan(findings, min(answering, _MAX_FINDINGS), _note(reading, table))


def _note(reading: Reading, table: Table) -> str:
    notes = []
    if reading.unread:
        words = ", ".join(f"“{word}”" for word in reading.unread)
        columns = ", ".join(f"`{column.name}`" for column in table.columns)
        part = "Part of the question" if reading.queries else "The question"
        notes.append(
            f"{part} can't be answered by rule: {words} can't be read as anything in the data, "
            f"whose columns are {columns}."
        )
        notes.append("" if reading.queries else "Here is what the data shows instead.")
    if reading.subjects:
        names = " and ".join(f"“{name}”" for name in reading.subjects)
        notes.append(f"No column or value is called {names}, so this is about all rows.")
    return " ".join(note for note in notes if note)


def _scalar(query: Query, table: Table) -> list[Finding]:
    title = _title(f"{measure_words(query)}{filter_words(query)}")
    say = partial(prose.say_scalar, query, table)
    return [Finding(title, sql.scalar_sql(query, table), say)]


def _share(query: Query, table: Table) -> list[Finding]:
    title = _title(f"share of {query.noun}{filter_words(query)}")
    return [Finding(title, sql.share_sql(query, table), partial(prose.say_share, query))]


def _groups(query: Query, table: Table) -> list[Finding]:
    title = _title(f"{measure_words(query)} by {query.grouped.label}{filter_words(query)}")
    return [Finding(title, sql.groups_sql(query, table), partial(prose.say_groups, query))]


def _rows(query: Query, table: Table) -> list[Finding]:
    end = "highest" if query.order != "asc" else "lowest"
    title = _title(f"{query.noun} with the {end} {query.measured.words}{filter_words(query)}")
    return [Finding(title, sql.rows_sql(query, table), partial(prose.say_rows, query))]


def _trend(query: Query, table: Table) -> list[Finding]:
    name = query.measured.words
    slope = Finding(
        _title(f"change of {name} per year{filter_words(query)}"),
        sql.slope_sql(query, table),
        partial(prose.say_slope, query),
    )
    return [slope, _years(query, table)]


def _years(query: Query, table: Table) -> Finding:
    return Finding(
        _title(f"average {query.measured.words} by year{filter_words(query)}"),
        sql.groups_sql(replace(query, order=None, limit=None), table),
        partial(prose.say_years, query),
    )


def _relation(query: Query, table: Table) -> list[Finding]:
    assert query.other is not None
    first, second = query.measured.words, query.other.words

    def say(answer: Answer) -> str:
        return prose.say_relation(first, second, answer.rows[0][0])

    return [
        Finding(
            _title(f"correlation of {first} and {second}{filter_words(query)}"),
            sql.relation_sql(query, table),
            say,
        ),
        Finding(
            _title(f"average {second} by {first}{filter_words(query)}"),
            sql.bands_sql(query, table),
            partial(prose.say_bands, query),
        ),
    ]


def _distribution(query: Query, table: Table) -> list[Finding]:
    name = query.measured.words
    return [
        Finding(
            _title(f"spread of {name}{filter_words(query)}"),
            sql.spread_sql(query, table),
            partial(prose.say_spread, query),
        ),
        Finding(
            _title(f"rows by {name}{filter_words(query)}"),
            sql.bins_sql(query, table),
            partial(prose.say_bins, query),
        ),
    ]


_DIRECT: dict[str, Callable[[Query, Table], list[Finding]]] = {
    "scalar": _scalar,
    "share": _share,
    "groups": _groups,
    "rows": _rows,
    "trend": _trend,
    "relation": _relation,
    "distribution": _distribution,
}


def _background(query: Query, table: Table) -> list[Finding]:
    """Return one more query, which sets a single number beside others."""
    if query.kind == "rows":
        return _distribution(replace(query, order=None), table)[:1]
    if query.kind not in ("scalar", "share") or query.aggregate == "distinct":
        return []
    one_year = any(f.one_year for f in query.filters)
    group = Group(table.date, "month" if one_year else "year") if table.date else None
    if group is None and table.categories:
        group = Group(table.categories[0])
    return _groups(replace(query, group=group, order=None, limit=None), table) if group else []


def _overview(table: Table) -> list[Finding]:
    """Return what to know of any table: sizes of groups, times, relations and extremes."""
    findings: list[Finding] = []
    numbers = table.numbers
    group = next((Group(c) for c in table.categories if _divides(c, table)), None)
    if group and len(set(group.column.counts)) > 1:
        findings += _groups(Query("groups", group=group, order="desc"), table)
    if numbers:
        findings += _seasons(table)
        if group and not table.date:
            query = Query("groups", "avg", numbers[0], group=group, order="desc")
            findings += _groups(query, table)
        if len(numbers) > 1:
            pairs = sql.correlations_sql(numbers[:_MAX_CORRELATED], table)
            findings.append(Finding("Strongest correlations", pairs, prose.say_pair))
        if table.labels:
            findings += _rows(Query("rows", "max", numbers[0], order="desc"), table)
    return findings or _scalar(Query("scalar"), table)


def _divides(column: Column, table: Table) -> bool:
    """Whether a category divides the rows into groups that are neither tiny nor everything."""
    return column.distinct * 2 <= table.rows and column.counts[0] <= table.rows * 0.95


def _seasons(table: Table) -> list[Finding]:
    """Return the first measure by month of the year, and the second, or it too, by year."""
    date, numbers = table.date, table.numbers
    if date is None:
        return []
    years = int(date.max[:4]) - int(date.min[:4]) + 1
    findings = []
    # A date a year has no months.
    monthly = date.distinct > 2 * years and date.min[:7] != date.max[:7]
    if monthly:
        aggregate = "sum" if _ADDITIVE & set(numbers[0].tokens) else "avg"
        by_month = Query("groups", aggregate, numbers[0], group=Group(date, "month"), order="desc")
        findings += _groups(by_month, table)
    if years > 1:
        measure = numbers[1] if monthly and len(numbers) > 1 else numbers[0]
        findings.append(_years(Query("trend", "avg", measure, group=Group(date, "year")), table))
    return findings


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]
