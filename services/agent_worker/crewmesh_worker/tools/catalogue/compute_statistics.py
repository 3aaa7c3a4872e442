"""The tool that works out statistics of large lists of numbers."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from crewmesh_worker.tools.context import RunContext, current_run
from crewmesh_worker.tools.database import quote
from crewmesh_worker.tools.registry import ToolError
from crewmesh_worker.tools.statistics.merging import histogram, merge, quantile, variance
from crewmesh_worker.tools.statistics.parts import Numbers
from crewmesh_worker.tools.statistics.pool import sort_and_sum

DESCRIPTION = (
    "Works out statistics of large lists of numbers, exactly: count, sum, sum of squares, mean, sample "
    "variance and standard deviation, minimum, maximum, quantiles and a histogram. Of numeric columns "
    "of the dataset, of the numeric columns that a query returns, or of numbers in the call."
)
OUTSIDE = True
_MAX_VALUES = 50_000_000
_NUMERIC = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL\(.*\)")


class Arguments(BaseModel):
    """What the model gives: columns, a query or values; nothing means every numeric column."""

    columns: list[str] = Field(
        default=[], max_length=50, description="Numeric columns of the dataset."
    )
    sql: str | None = Field(
        default=None, description="A query that reads; its numeric columns are taken."
    )
    values: list[float] = Field(default=[], max_length=1_000_000, description="The numbers.")
    quantiles: list[float] = Field(
        default=[0.25, 0.5, 0.75],
        max_length=100,
        description="Each from 0 to 1; 0.5 is the median.",
    )
    bins: int = Field(default=10, ge=0, le=200, description="Steps of the histogram; 0 for none.")


def run(arguments: Arguments) -> str:
    """Return JSON: for each column's name (or "values") its statistics."""
    context = current_run()
    if outside := [q for q in arguments.quantiles if not 0 <= q <= 1]:
        raise ToolError(f"quantiles are from 0 to 1, and {outside[0]:g} isn't: 95 % is 0.95")
    lists = _lists(context, arguments)
    answer = {name: _statistics(numbers, arguments) for name, numbers in lists.items()}
    context.evidence.add([answer, arguments.sql or ""])
    return json.dumps(answer, ensure_ascii=False)


def _lists(context: RunContext, arguments: Arguments) -> dict[str, Any]:
    given = [bool(arguments.values), bool(arguments.sql), bool(arguments.columns)]
    if sum(given) > 1:
        raise ToolError("give one of columns, sql and values")
    if arguments.values:
        return {"values": np.array(arguments.values, np.float64)}
    sql = arguments.sql or _columns_sql(context, arguments.columns)
    rows = context.database.query(f"SELECT count(*) AS n FROM ({sql.rstrip('; ')})").records[0]["n"]  # noqa: S608
    found = context.database.arrays(sql) if rows <= _MAX_VALUES else {}
    lists = {name: array for name, array in found.items() if array.dtype.kind in "iuf"}
    if rows * max(1, len(lists)) > _MAX_VALUES:
        raise ToolError(
            f"{rows:,} rows are too many for this tool (at most {_MAX_VALUES:,} numbers in a call): "
            "ask for fewer columns, or aggregate with query_sql"
        )
    if not lists:
        raise ToolError(f"there is no numeric column among: {', '.join(found) or 'none'}")
    return lists


def _columns_sql(context: RunContext, columns: list[str]) -> str:
    table = next(iter(context.database.tables), None)
    if table is None:
        raise ToolError("this run has no dataset: give numbers as values")
    types = context.database.columns(table)
    numeric = [name for name, type_ in types.items() if _NUMERIC.fullmatch(type_)]
    if unknown := [name for name in columns if name not in numeric]:
        raise ToolError(
            f"no numeric column is named {', '.join(unknown)}; there are: {', '.join(numeric) or 'none'}"
        )
    wanted = ", ".join(f"{quote(name)}::DOUBLE AS {quote(name)}" for name in columns or numeric)
    if not wanted:
        raise ToolError("the dataset has no numeric column")
    return f"SELECT {wanted} FROM {quote(table)}"  # noqa: S608


def _statistics(array: Any, arguments: Arguments) -> dict[str, Any]:
    numbers: Numbers = np.ma.filled(array.astype(np.float64), np.nan)
    total = len(numbers)
    numbers = numbers[np.isfinite(numbers)]
    counts = {"count": len(numbers), "left_out": total - len(numbers)}
    if not len(numbers):
        return counts
    ordered, parts = sort_and_sum(numbers)
    whole = merge(parts)
    spread = variance(whole)
    return {
        **counts,
        "sum": whole.sum,
        "sum_squares": whole.sum_squares,
        "mean": whole.mean,
        "variance": spread,
        "standard_deviation": None if spread is None else math.sqrt(spread),
        "min": whole.min,
        "max": whole.max,
        "quantiles": {f"{q:g}": quantile(ordered, q) for q in arguments.quantiles},
        **(_bins(ordered, whole.min, whole.max, arguments.bins) if arguments.bins else {}),
    }


def _bins(ordered: list[Numbers], lowest: float, highest: float, bins: int) -> dict[str, Any]:
    return {"histogram": histogram(ordered, lowest, highest, bins if lowest < highest else 1)}
