"""Understood questions as SQL."""

# ruff: noqa: S608 - names are quoted, and the database only reads.

from __future__ import annotations

import re

from crewmesh_worker.models.rules.question import Filter, Group, Query
from crewmesh_worker.models.rules.table import Column, Table

AGGREGATE_WORDS = {
    "avg": "average",
    "sum": "total",
    "min": "minimum",
    "max": "maximum",
    "median": "median",
    "stddev": "standard deviation of",
    "count": "number of",
    "distinct": "number of different",
}
DEFAULT_LIMIT = 5
# Ends the name of a column that holds where a histogram's steps start.
STEP = "_from"
_MANY_PERIODS = frozenset(["day", "week"])
_TOP_GROUPS = 20
# Unit: what is shown, and what puts it in order.
_UNITS = {
    "year": ("year({0})", "1"),
    "quarter": ("'Q' || quarter({0})", "1"),
    "month": ("monthname({0})", "min(month({0}))"),
    "week": ("date_trunc('week', {0})::DATE", "1"),
    "weekday": ("dayname({0})", "min(isodow({0}))"),
    "day": ("{0}::DATE", "1"),
    "hour": ("hour({0})", "1"),
}


def quote(name: str) -> str:
    """Return a column's name as it stands in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Return a text as it stands in SQL."""
    return "'" + value.replace("'", "''") + "'"


def year_of(column: Column) -> str:
    """Return the expression for the year of a date column, or of a column of years."""
    name = quote(column.name)
    if column.is_date:
        return f"year({name})"
    return name if column.type != "VARCHAR" else f"TRY_CAST({name} AS INTEGER)"


def measure_name(query: Query) -> str:
    """Return what the answer's column is called: average_temp_max, count."""
    if query.aggregate == "count" or query.measure is None:
        return "count"
    word = AGGREGATE_WORDS[query.aggregate].replace(" of", "")
    return identifier(f"{word} {query.measure.name}")


def identifier(text: str) -> str:
    """Return a text as a plain name."""
    return re.sub(r"\W+", "_", text.lower()).strip("_") or "value"


def scalar_sql(query: Query, table: Table) -> str:
    """Return one number for the rows that count."""
    return (
        f"SELECT {_aggregate(query, table)} AS {measure_name(query)}, "
        f"count(*) AS rows_counted\nFROM {quote(table.name)}{_where(query.filters)}"
    )


def share_sql(query: Query, table: Table) -> str:
    """Return how many rows count, and what part of all (of that time) they are."""
    conditions = query.conditions
    condition = " AND ".join(f.sql for f in conditions)
    base = tuple(f for f in query.filters if f not in conditions)
    return (
        f"SELECT count(*) FILTER (WHERE {condition}) AS count, count(*) AS total,\n"
        f"       round(100.0 * count(*) FILTER (WHERE {condition}) / count(*), 1) AS percent\n"
        f"FROM {quote(table.name)}{_where(base)}"
    )


def groups_sql(query: Query, table: Table) -> str:
    """Return the aggregate for each group: in their own order, or the highest first."""
    group = query.grouped
    key, natural = group_key(group)
    value = f"{_aggregate(query, table)} AS {measure_name(query)}"
    if query.aggregate == "count":
        value += ",\n       round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent"
    conditions = [f.sql for f in query.filters] + [f"{quote(group.column.name)} IS NOT NULL"]
    if query.measure and query.aggregate != "distinct":
        conditions.append(f"{quote(query.measure.name)} IS NOT NULL")
    limit = groups_limit(query)
    order = natural if natural and not limit else f"2 {(query.order or 'desc').upper()}, 1"
    return (
        f"SELECT {key} AS {group_name(group)}, {value}\nFROM {quote(table.name)}\n"
        f"WHERE {' AND '.join(conditions)}\nGROUP BY 1\nORDER BY {order}"
        + (f"\nLIMIT {limit}" if limit else "")
    )


def groups_limit(query: Query) -> int | None:
    """Return how many of the groups, ranked, are shown; None for all."""
    group = query.grouped
    many = group.unit in _MANY_PERIODS if group.unit else group.column.distinct > _TOP_GROUPS
    return query.limit or (_TOP_GROUPS if many else None)


def rows_sql(query: Query, table: Table) -> str:
    """Return the rows with the highest or lowest values, and what they are called."""
    name = quote(query.measured.name)
    shown = [quote(label.name) for label in table.labels if label is not query.measure]
    conditions = [f.sql for f in query.filters] + [f"{name} IS NOT NULL"]
    return (
        f"SELECT {', '.join([*shown, name])}\nFROM {quote(table.name)}\n"
        f"WHERE {' AND '.join(conditions)}\n"
        f"ORDER BY {name} {(query.order or 'desc').upper()}{', 1' if shown else ''}\n"
        f"LIMIT {query.limit or DEFAULT_LIMIT}"
    )


def slope_sql(query: Query, table: Table) -> str:
    """Return a straight line through a measure over time: its change per year, its fit."""
    name, column = quote(query.measured.name), query.grouped.column
    years = f"(epoch({quote(column.name)}) / 31557600)" if column.is_date else year_of(column)
    return (
        f"SELECT round(regr_slope({name}, {years}), 4) AS change_per_year,\n"
        f"       round(corr({name}, {years}), 3) AS correlation_with_time,\n"
        f"       regr_count({name}, {years}) AS rows_counted\n"
        f"FROM {quote(table.name)}{_where(query.filters)}"
    )


def relation_sql(query: Query, table: Table) -> str:
    """Return how closely two measures move together."""
    first, second = _pair(query)
    return (
        f"SELECT round(corr({first}, {second}), 3) AS correlation, count(*) AS rows_counted\n"
        f"FROM {quote(table.name)}\nWHERE {' AND '.join(_both(query))}"
    )


def bands_sql(query: Query, table: Table) -> str:
    """Return the second measure's average in ten bands of the first."""
    first, second = _pair(query)
    return (
        f"SELECT round(avg({first}), 2) AS {identifier(query.measured.name)},\n"
        f"       round(avg({second}), 2) AS {identifier(f'average {_other(query).name}')}\n"
        f"FROM (\n  SELECT *, ntile(10) OVER (ORDER BY {first}) AS band\n"
        f"  FROM {quote(table.name)}\n  WHERE {' AND '.join(_both(query))}\n)\n"
        "GROUP BY band\nORDER BY band"
    )


def spread_sql(query: Query, table: Table) -> str:
    """Return where a measure's values lie."""
    name = quote(query.measured.name)
    return (
        f"SELECT min({name}) AS lowest, quantile_cont({name}, 0.25) AS lower_quarter,\n"
        f"       median({name}) AS median, quantile_cont({name}, 0.75) AS upper_quarter,\n"
        f"       max({name}) AS highest\nFROM {quote(table.name)}{_where(query.filters)}"
    )


def values_sql(query: Query, table: Table) -> str:
    """Return the values of a measure."""
    name = quote(query.measured.name)
    return f"SELECT {name} FROM {quote(table.name)}{_where(query.filters)}"


def moments_sql(query: Query, table: Table) -> str:
    """Return how many values a measure has, and its moments."""
    name = quote(query.measured.name)
    return (
        f"SELECT count({name}) AS values, round(avg({name}), 4) AS mean,\n"
        f"       round(stddev_samp({name}), 4) AS standard_deviation, min({name}) AS lowest,\n"
        f"       median({name}) AS median, max({name}) AS highest\n"
        f"FROM {quote(table.name)}{_where(query.filters)}"
    )


def bins_sql(query: Query, table: Table) -> str:
    """Return how many rows lie in each of about twelve equal steps of a measure."""
    name = quote(query.measured.name)
    span = float(query.measured.max) - float(query.measured.min)
    step = next(
        s for e in range(-6, 16) for s in (10.0**e, 2 * 10.0**e, 5 * 10.0**e) if s * 12 >= span
    )
    return (
        f"SELECT floor({name} / {step:g}) * {step:g} AS {identifier(query.measured.name)}{STEP}, "
        f"count(*) AS count\nFROM {quote(table.name)}\n"
        f"WHERE {' AND '.join([*(f.sql for f in query.filters), f'{name} IS NOT NULL'])}\n"
        "GROUP BY 1\nORDER BY 1"
    )


def correlations_sql(columns: list[Column], table: Table) -> str:
    """Return every pair of measures by how closely they move together."""
    pairs = [(a, b) for i, a in enumerate(columns) for b in columns[i + 1 :]]
    rows = "\nUNION ALL ".join(
        f"SELECT {literal(f'{a.words} and {b.words}')} AS pair, "
        f"round(corr({quote(a.name)}, {quote(b.name)}), 3) AS correlation FROM {quote(table.name)}"
        for a, b in pairs
    )
    return f"{rows}\nORDER BY abs(correlation) DESC\nLIMIT {DEFAULT_LIMIT}"


def group_key(group: Group) -> tuple[str, str]:
    """Return a group's expression, and its own order; "" if it has none, as names."""
    name = quote(group.column.name)
    if group.unit is None:
        return name, "" if group.column.is_text and not group.column.is_label else "1"
    key, order = _UNITS[group.unit]
    return key.format(name), order.format(name)


def group_name(group: Group) -> str:
    """Return what the answer's column of groups is called."""
    return group.unit or quote(group.column.name)


def _aggregate(query: Query, table: Table) -> str:
    if query.measure is None:
        days = query.noun == "days" and table.date and table.date.distinct != table.rows
        return (
            f"count(DISTINCT {quote(table.date.name)}::DATE)" if days and table.date else "count(*)"
        )
    name = quote(query.measure.name)
    if query.aggregate == "distinct":
        return f"count(DISTINCT {name})"
    return f"round({query.aggregate}({name}), {_decimals(query.measure)})"


def _decimals(column: Column) -> int:
    largest = max(abs(float(column.min or 0)), abs(float(column.max or 0)))
    return 2 if largest >= 1 else 4


def _where(filters: tuple[Filter, ...]) -> str:
    return "\nWHERE " + " AND ".join(f.sql for f in filters) if filters else ""


def _pair(query: Query) -> tuple[str, str]:
    return quote(query.measured.name), quote(_other(query).name)


def _both(query: Query) -> list[str]:
    return [f.sql for f in query.filters] + [f"{name} IS NOT NULL" for name in _pair(query)]


def _other(query: Query) -> Column:
    assert query.other is not None
    return query.other
