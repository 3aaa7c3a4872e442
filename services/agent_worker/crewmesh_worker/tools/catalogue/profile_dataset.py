"""The tool that says what a dataset holds."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel, Field

from crewmesh_worker.tools.context import current_run
from crewmesh_worker.tools.database import Database, quote
from crewmesh_worker.tools.registry import ToolError

DESCRIPTION = (
    "Says what a dataset holds: its rows, and for each column the type, the number of nulls and "
    "of distinct values, minimum, maximum, mean, the most frequent values, and sample rows."
)
OUTSIDE = True
_MAX_COLUMNS = 80
_MAX_FREQUENT = 24
_SAMPLE_ROWS = 3
_NUMERIC = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL\(.*\)")


class Arguments(BaseModel):
    """What the model gives."""

    table: str | None = Field(
        default=None,
        description="The table to profile; by default the first, usually the only one.",
    )


def run(arguments: Arguments) -> str:
    """Return the profile as JSON: table, rows, columns, sample."""
    context = current_run()
    database = context.database
    name = arguments.table or next(iter(database.tables), "data")
    if name not in database.tables:
        tables = ", ".join(database.tables) or "none: the run has no dataset"
        raise ToolError(f"no table is named {name!r}; there are: {tables}")
    table = quote(name)
    described = database.query(f"DESCRIBE {table}", max_rows=_MAX_COLUMNS)
    rows = _first(database, f"SELECT count(*) AS n FROM {table}")["n"]  # noqa: S608
    profile: dict[str, Any] = {
        "table": name,
        "rows": rows,
        "columns": [_column(database, table, row[0], row[1]) for row in described.rows],
        "sample": database.query(f"FROM {table}", max_rows=_SAMPLE_ROWS).records,
    }
    if described.total > _MAX_COLUMNS:
        profile["columns_left_out"] = described.total - _MAX_COLUMNS
    context.evidence.add(profile)
    return json.dumps(profile, ensure_ascii=False)


def _column(database: Database, table: str, name: str, type_: str) -> dict[str, Any]:
    column = quote(name)
    mean = f", round(avg({column}), 4) AS mean" if _NUMERIC.fullmatch(type_) else ""
    figures = _first(
        database,
        f"SELECT count(*) - count({column}) AS nulls, count(DISTINCT {column}) AS distinct_values, "  # noqa: S608
        f"min({column}) AS min, max({column}) AS max{mean} FROM {table}",
    )
    profile = {"name": name, "type": type_, **figures}
    if type_ in ("VARCHAR", "BOOLEAN"):
        frequent = database.query(
            f"SELECT {column} AS value, count(*) AS count FROM {table} "  # noqa: S608
            f"WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1",
            max_rows=_MAX_FREQUENT,
        )
        profile["frequent"] = frequent.records
    return profile


def _first(database: Database, sql: str) -> dict[str, Any]:
    return database.query(sql).records[0]
