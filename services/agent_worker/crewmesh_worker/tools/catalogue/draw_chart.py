"""The tool that draws a chart of a query's answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from crewmesh_worker.runner import artifacts
from crewmesh_worker.tools.context import RunContext, current_run
from crewmesh_worker.tools.database import Result
from crewmesh_worker.tools.plotting import Chart, as_positions, readable, save_chart
from crewmesh_worker.tools.registry import ToolError

DESCRIPTION = (
    "Draws one chart of an SQL query's answer and hands it in as PNG and SVG. Aggregate and order "
    "in the query: bars and lines are drawn in its order. Returns the chart's file name, by which "
    "a report refers to it."
)
OUTSIDE = True
_MAX_POINTS = 5_000
_MAX_BARS = 40
_MAX_SERIES = 8


class Arguments(BaseModel):
    """What the model gives."""

    sql: str = Field(description="The DuckDB SQL query whose answer is drawn.")
    kind: Literal["line", "bar", "scatter", "hist"] = Field(
        description="line for a development, bar for a comparison, scatter for a relation, "
        "hist for a distribution."
    )
    x: str = Field(description="The answer's column on the x axis (hist: the values).")
    y: str | None = Field(default=None, description="The numeric column drawn; none for hist.")
    series: str | None = Field(
        default=None, description="A column whose values each get their own colour; usually none."
    )
    title: str = Field(description="What the chart shows, in a few words.")


def run(arguments: Arguments) -> str:
    """Return JSON: chart (the PNG's name), files, points."""
    context = current_run()
    result = context.database.query(arguments.sql, max_rows=_MAX_POINTS)
    chart = _chart(arguments, result)
    name = _free_name(context, arguments.title)
    files = save_chart(chart, Path.cwd() / name)
    for file, media_type in zip(files, ("image/png", "image/svg+xml"), strict=True):
        artifacts.save(file, file.name, media_type)
    context.charts.append(files[0].name)
    names = [file.name for file in files]
    return json.dumps({"chart": names[0], "files": names, "points": len(chart.places)})


def _chart(arguments: Arguments, result: Result) -> Chart:
    if result.total > len(result.rows):
        raise ToolError(
            f"the query has {result.total} rows, more than {_MAX_POINTS}: aggregate or sample"
        )
    y = None if arguments.kind == "hist" else arguments.y
    if arguments.kind != "hist" and y is None:
        raise ToolError(f"a {arguments.kind} chart needs y, a numeric column of the query")
    groups: dict[str, tuple[list[Any], list[float]]] = {}
    for record in result.records:
        place = _cell(record, arguments.x)
        value = _cell(record, y) if y else 0.0
        if place is None or value is None:
            continue
        _require_number(arguments.x if y is None else y, place if y is None else value)
        name = str(_cell(record, arguments.series)) if arguments.series else ""
        xs, ys = groups.setdefault(name, ([], []))
        xs.append(place)
        ys.append(float(value))
    _require_drawable(arguments, groups)
    return Chart(
        kind=arguments.kind,
        title=arguments.title,
        x_label=readable(arguments.x),
        y_label="Count" if y is None else readable(y),
        groups={name: (_positions(arguments, xs), ys) for name, (xs, ys) in groups.items()},
    )


def _positions(arguments: Arguments, xs: list[Any]) -> list[Any]:
    return xs if arguments.kind == "bar" else as_positions(xs)


def _cell(record: dict[str, Any], column: str) -> Any:
    if column not in record:
        raise ToolError(f"the query has no column {column!r}; it has: {', '.join(record)}")
    return record[column]


def _require_number(column: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolError(f"the column {column!r} must be numeric, and has {value!r}")


def _require_drawable(
    arguments: Arguments, groups: dict[str, tuple[list[Any], list[float]]]
) -> None:
    if not groups:
        raise ToolError("the query has no row with both values: there is nothing to draw")
    if len(groups) > _MAX_SERIES:
        raise ToolError(
            f"{arguments.series!r} has {len(groups)} values; at most {_MAX_SERIES} series"
        )
    if arguments.kind != "bar":
        return
    bars = [x for xs, _ in groups.values() for x in xs]
    if len(set(bars)) > _MAX_BARS:
        raise ToolError(f"{len(set(bars))} bars; at most {_MAX_BARS}: add ORDER BY and LIMIT")
    if arguments.series and any(len(set(xs)) < len(xs) for xs, _ in groups.values()):
        raise ToolError(f"{arguments.x!r} recurs within a series: group by it and the series")


def _free_name(context: RunContext, title: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].strip("-") or "chart"
    name, number = slug, 2
    while f"{name}.png" in context.charts:
        name, number = f"{slug}-{number}", number + 1
    return name
