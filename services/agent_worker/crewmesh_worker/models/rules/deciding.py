"""Decides what kind of question was asked, once its words are understood.

Where the words ask for a combination that no query here answers, nothing is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from crewmesh_worker.models.rules.question import Filter, Group, Order, Query
from crewmesh_worker.models.rules.table import Column, Table
from crewmesh_worker.models.rules.words import vocabulary

_ADDITIVE = vocabulary("additive")


@dataclass
class Asked:
    """What a question says."""

    # Cues.
    trend: bool = False
    seasonal: bool = False
    relation: bool = False
    share: bool = False
    spread: bool = False
    common: bool = False
    counting: bool = False
    supposed: int = 0
    # Contents.
    filters: list[Filter] = field(default_factory=list)
    group: Group | None = None
    measures: list[Column] = field(default_factory=list)
    # "" where it isn't said.
    aggregate: str = ""
    order: Order | None = None
    limit: int | None = None
    noun: str = "rows"


def decide(asked: Asked, table: Table) -> list[Query]:
    """Return the queries that answer it, one for each measure; none where that can't be."""
    query = Query(
        "scalar",
        aggregate=asked.aggregate,
        group=asked.group,
        filters=tuple(asked.filters),
        order=asked.order,
        limit=asked.limit,
        noun=asked.noun,
        supposed=asked.supposed,
    )
    if asked.relation and len(asked.measures) == 2 and asked.group is None:
        first, second = asked.measures
        return [replace(query, kind="relation", measure=first, other=second)]
    if asked.share:
        shares = not asked.measures and (asked.group or len(query.conditions) == 1)
        return [replace(query, kind="groups" if asked.group else "share")] if shares else []
    if asked.relation and asked.group is None:
        return []
    queries = [replace(query, measure=measure) for measure in asked.measures] or [query]
    decided = [_decide(q, asked, table) for q in queries]
    return [q for q in decided if q] if all(decided) else []


def _decide(query: Query, asked: Asked, table: Table) -> Query | None:
    if query.measure:
        query = replace(query, aggregate=_aggregate_of(query.measure, query.aggregate))
    if asked.spread:
        return _spread(query)
    if asked.trend:
        return _trend(query, table)
    if query.group:
        return _grouped(query, table)
    if query.measure and (query.order or query.limit):
        single = asked.aggregate in ("", "max", "min") and query.aggregate != "distinct"
        return replace(query, kind="rows") if single else None
    return query if query.measure or query.filters or asked.counting else None


def _spread(query: Query) -> Query | None:
    if query.measure is None and query.group:
        return replace(query, kind="groups")
    plain = query.measure is not None and query.measure.is_number and query.group is None
    return replace(query, kind="distribution") if plain else None


def _trend(query: Query, table: Table) -> Query | None:
    years = table.years
    if years is None or (query.group and query.group.unit is None):
        return None
    time = Group(years, "year" if years.is_date else None)
    if query.group and query.group.unit != "year":
        return replace(query, kind="groups")
    if query.measure is None or not query.measure.is_number:
        return replace(query, kind="groups", group=time)
    return replace(query, kind="trend", aggregate="avg", group=time)


def _grouped(query: Query, table: Table) -> Query:
    date = table.date
    daily = date is not None and date.distinct == table.rows
    if query.grouped.unit == "day" and daily and query.measure and query.order:
        return replace(query, kind="rows", group=None)
    return replace(query, kind="groups")


def _aggregate_of(measure: Column, said: str) -> str:
    if not measure.is_number:
        return "distinct"
    return said or ("sum" if _ADDITIVE & set(measure.tokens) else "avg")
