"""When a question asks for statistics of a column, and how what came out is said."""

from __future__ import annotations

from typing import Any

from crewmesh_worker.models.rules.markdown import write_table
from crewmesh_worker.models.rules.prose import filter_words, say_number
from crewmesh_worker.models.rules.question import Query, Reading
from crewmesh_worker.models.rules.sql import moments_sql, values_sql
from crewmesh_worker.models.rules.table import Table

_COLUMNS = ["values", "mean", "standard_deviation", "lowest", "median", "highest"]
_FIELDS = ["count", "mean", "standard_deviation", "min", "median", "max"]


def statistics_queries(reading: Reading) -> list[Query]:
    """Return the parts of a question that ask how the numbers of one column lie."""
    return [
        query
        for query in reading.queries
        if query.measure is not None
        and query.measure.is_number
        and query.group is None
        and (query.kind == "distribution" or query.aggregate in ("median", "stddev"))
    ]


def statistics_call(query: Query, table: Table) -> dict[str, Any]:
    """Return the arguments with which the tool is called."""
    return {"sql": values_sql(query, table)}


def say_statistics(query: Query, table: Table, value: dict[str, Any]) -> list[str]:
    """Return a section; its query has the same numbers worked out by the database."""
    (found,) = value.values()
    title = f"Statistics of {query.measured.words}{filter_words(query)}"
    if not found["count"]:
        return [f"### {title}", "There is no value."]
    figures = {**found, "median": found["quantiles"]["0.5"]}
    shown = [None if figures[f] is None else round(figures[f], 4) for f in _FIELDS]
    mean, deviation, median = (
        "none" if figures[name] is None else say_number(round(figures[name], 2))
        for name in ("mean", "standard_deviation", "median")
    )
    text = (
        f"{found['count']:,} values with the mean {mean}, the median {median} and the standard "
        f"deviation {deviation}."
    )
    sql = f"```sql\n{moments_sql(query, table)}\n```"
    return [f"### {title}", text, sql, write_table(_COLUMNS, [shown])]
