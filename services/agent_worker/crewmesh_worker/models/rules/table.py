"""A dataset as the offline model knows it: its profile, written and read as Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from crewmesh_worker.models.rules.markdown import read_tables, write_table
from crewmesh_worker.models.rules.words import STOP, name_tokens, vocabulary

_FIELDS = ["column", "type", "nulls", "distinct", "min", "max", "mean", "values"]
_VALUE = re.compile(r"`([^`]*)` \((\d+)\)")
_MAX_CATEGORIES = 60
_MAX_NUMBER_GROUPS = 30
_LABEL_TOKENS = vocabulary("label")
_NAMES = frozenset(["name", "title"])


@dataclass(frozen=True)
class Column:
    """One column; `values` are the most frequent texts of it."""

    name: str
    type: str
    nulls: int
    distinct: int
    min: str
    max: str
    mean: str
    values: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()

    @cached_property
    def tokens(self) -> list[str]:
        """The words of its name."""
        return name_tokens(self.name)

    @cached_property
    def key_tokens(self) -> list[str]:
        """Those of its words that say something: not the "in" of Weight_in_lbs."""
        return [token for token in self.tokens if token not in STOP] or self.tokens

    @property
    def words(self) -> str:
        """Its name as a sentence has it."""
        return " ".join(self.tokens) or self.name

    @property
    def is_text(self) -> bool:
        """Whether its values are names, or true and false."""
        return self.type in ("VARCHAR", "BOOLEAN")

    @property
    def is_date(self) -> bool:
        """Whether it holds points in time."""
        return self.type.startswith(("DATE", "TIMESTAMP"))

    @property
    def is_number(self) -> bool:
        """Whether it can be summed and averaged."""
        return bool(self.mean) and not self.is_label

    @property
    def is_label(self) -> bool:
        """Whether it is a number that only names or places."""
        return bool(_LABEL_TOKENS & set(self.tokens)) and not self.is_date

    @property
    def is_category(self) -> bool:
        """Whether its values make a manageable number of groups."""
        if self.is_text:
            return 1 < self.distinct <= _MAX_CATEGORIES
        return not self.is_date and 1 < self.distinct <= _MAX_NUMBER_GROUPS


@dataclass(frozen=True)
class Table:
    """A dataset's profile."""

    name: str
    rows: int
    columns: tuple[Column, ...]

    @property
    def numbers(self) -> list[Column]:
        """Columns to measure."""
        return [column for column in self.columns if column.is_number]

    @property
    def date(self) -> Column | None:
        """The column that says when."""
        return next((column for column in self.columns if column.is_date), None)

    @property
    def years(self) -> Column | None:
        """The column that says in which year: a date, or a year's number."""
        named = (column for column in self.columns if column.tokens == ["year"])
        return self.date or next(named, None)

    @property
    def categories(self) -> list[Column]:
        """Columns of names to group by, those with the fewest groups first."""
        texts = [column for column in self.columns if column.is_category and column.is_text]
        return sorted(texts, key=lambda column: column.distinct)

    @property
    def labels(self) -> list[Column]:
        """What tells rows apart for a person: a date, a name, or a name and its date."""
        if self.date and self._tells_apart(self.date):
            return [self.date]
        texts = [column for column in self.columns if column.type == "VARCHAR"]
        texts.sort(key=lambda column: (not _NAMES & set(column.tokens), -column.distinct))
        named = [c for c in [*texts, *self.columns] if c.is_label or c.type == "VARCHAR"]
        if unique := next((column for column in named if self._tells_apart(column)), None):
            return [unique]
        return [*texts[:1], self.date] if self.date else []

    @property
    def holds_things(self) -> bool:
        """Whether its rows are things with names, rather than points in time."""
        return bool(self.labels) and not self.labels[-1].is_date

    def _tells_apart(self, column: Column) -> bool:
        # Dates must be unique: several rows a day are no days.
        return column.distinct * (1 if column.is_date else 2) >= self.rows


def table_from_profile(profile: dict[str, Any]) -> Table:
    """Return the table that `profile_dataset` answered with."""
    columns = []
    for column in profile["columns"]:
        frequent = [f for f in column.get("frequent", ()) if "`" not in str(f["value"])]
        columns.append(
            Column(
                name=column["name"],
                type=column["type"],
                nulls=column["nulls"],
                distinct=column["distinct_values"],
                min=_text(column["min"]),
                max=_text(column["max"]),
                mean=_text(column.get("mean")),
                values=tuple(str(f["value"]) for f in frequent),
                counts=tuple(f["count"] for f in frequent),
            )
        )
    return Table(profile["table"], profile["rows"], tuple(columns))


def write_profile(table: Table) -> str:
    """Return the table's profile for people, such that `read_profile` understands it."""
    date = table.date
    lines = [f"Table `{table.name}`: {table.rows:,} rows, {len(table.columns)} columns."]
    if date:
        lines.append(f"It covers {date.min} to {date.max} (column `{date.name}`).")
    gaps = [f"`{c.name}` ({c.nulls:,})" for c in table.columns if c.nulls]
    lines.append(f"Nulls: {', '.join(gaps)}." if gaps else "No value is missing.")
    rows = [
        [c.name, c.type, c.nulls, c.distinct, c.min, c.max, c.mean, _values(c)]
        for c in table.columns
    ]
    return " ".join(lines) + "\n\n" + write_table(_FIELDS, rows)


def read_profile(markdown: str) -> Table | None:
    """Return the table whose profile a text holds, if it holds one."""
    head = re.search(r"Table `([^`]+)`: ([\d,]+) rows", markdown)
    records = next((t for t in read_tables(markdown) if t and set(_FIELDS) <= set(t[0])), None)
    if head is None or records is None:
        return None
    columns = []
    for record in records:
        values = _VALUE.findall(record["values"])
        columns.append(
            Column(
                name=record["column"],
                type=record["type"],
                nulls=int(record["nulls"]),
                distinct=int(record["distinct"]),
                min=record["min"],
                max=record["max"],
                mean=record["mean"],
                values=tuple(value for value, _ in values),
                counts=tuple(int(count) for _, count in values),
            )
        )
    return Table(head.group(1), int(head.group(2).replace(",", "")), tuple(columns))


def _values(column: Column) -> str:
    shown = zip(column.values, column.counts, strict=True) if column.is_category else ()
    return ", ".join(f"`{value}` ({count})" for value, count in shown)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
