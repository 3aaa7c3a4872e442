"""What a question asks of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crewmesh_worker.models.rules.table import Column

Kind = Literal["scalar", "groups", "rows", "trend", "relation", "share", "distribution", "open"]
Order = Literal["desc", "asc"]


@dataclass(frozen=True)
class Group:
    """What rows are grouped by: a column, or a unit of time of a date column."""

    column: Column
    unit: str | None = None

    @property
    def label(self) -> str:
        """What a heading calls it."""
        return self.unit or self.column.name.replace("_", " ")


@dataclass(frozen=True)
class Filter:
    """Which rows count: a condition in SQL, and in words ("weather = snow")."""

    sql: str
    words: str
    # What is compared, where a condition names several values of it.
    compared: Group | None = None
    # Whether it picks a time, and a single year.
    of_time: bool = False
    one_year: bool = False


@dataclass(frozen=True)
class Query:
    """One thing that is asked.

    `measure` is what `aggregate` (avg, sum, min, max, median, stddev, count, distinct)
    is taken of; with count it is None. `noun` is what the question calls the rows.
    """

    kind: Kind
    aggregate: str = "count"
    measure: Column | None = None
    other: Column | None = None
    group: Group | None = None
    filters: tuple[Filter, ...] = ()
    order: Order | None = None
    limit: int | None = None
    noun: str = "rows"
    # What a yes-or-no question supposes of a development: 1 rising, -1 falling.
    supposed: int = 0

    @property
    def conditions(self) -> tuple[Filter, ...]:
        """What a share is taken of: the filters but for those that only say when."""
        return tuple(f for f in self.filters if not f.of_time) or self.filters

    @property
    def measured(self) -> Column:
        """The measure, where the kind of question has one."""
        assert self.measure is not None
        return self.measure

    @property
    def grouped(self) -> Group:
        """The group, where the kind of question has one."""
        assert self.group is not None
        return self.group


@dataclass(frozen=True)
class Reading:
    """What could be made of a question: what it asks, and what in it was not understood."""

    queries: tuple[Query, ...] = ()
    # Words for which parts of the question, or all of it, are left out.
    unread: tuple[str, ...] = ()
    # Names that are no value of the table, taken to be what all of it is about.
    subjects: tuple[str, ...] = ()
