"""How charts look: one clean style for every kind."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends import backend_agg, backend_svg  # noqa: F401 - imported once, before forks
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.typing import RcKeyType

_INK, _MUTED, _GRID = "#1f2933", "#616e7c", "#e4e7eb"
_COLOURS = ["#2a6f97", "#e07a1f", "#3a8f5c", "#b3476b", "#7a5ea8", "#8a6d3b", "#5b8fb9", "#c9a227"]
_STYLE: dict[RcKeyType, Any] = {
    "figure.dpi": 160,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "font.size": 10,
    "text.color": _INK,
    # A "$" in somebody's data is not a formula.
    "text.parse_math": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "legend.frameon": False,
    "svg.hashsalt": "crewmesh",
}
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2}.*)?$")
_LABELLED_BARS = 12
# What fits below upright bars, two more for the gap after each label.
_LABEL_CHARACTERS = 78
_LONGEST_LABEL = 36
_MARKED_POINTS = 36
_MANY_POINTS = 1_000

# Matplotlib keeps state per process; a model may ask for several charts at once.
_drawing = threading.Lock()


@dataclass(frozen=True)
class Chart:
    """What to draw. `groups` maps a series' name ("" when there is one) to its x and y values."""

    kind: str
    title: str
    x_label: str
    y_label: str
    groups: dict[str, tuple[list[Any], list[float]]]

    @property
    def places(self) -> list[Any]:
        """The x values of all series."""
        return [x for xs, _ in self.groups.values() for x in xs]

    @property
    def labels(self) -> list[str]:
        """What stands below bars: every x of a single series, each x once for several."""
        if len(self.groups) == 1:
            return [_label(place) for place in self.places]
        unique = dict.fromkeys(self.places)
        numeric = all(isinstance(place, int | float) for place in unique)
        return [_label(place) for place in (sorted(unique) if numeric else unique)]


def save_chart(chart: Chart, path: Path) -> list[Path]:
    """Draw the chart and write it as `path` with the suffixes .png and .svg."""
    with _drawing, mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 4.5))
        axes = figure.subplots()
        _DRAW[chart.kind](axes, chart)
        axes.set_title(chart.title, wrap=True)
        if len(chart.groups) > 1:
            legend = figure.legend(loc="outside right upper")
            for handle in filter(None, legend.legend_handles):
                handle.set_alpha(1)
        png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
        figure.savefig(png)
        figure.savefig(svg, metadata={"Date": None, "Creator": "Crewmesh"})
    return [png, svg]


def as_positions(values: Sequence[Any]) -> list[Any]:
    """Return x values for an axis: ISO dates as datetimes, everything else as it is."""
    if values and all(isinstance(v, str) and _ISO_DATE.match(v) for v in values):
        return [dt.datetime.fromisoformat(value) for value in values]
    return list(values)


def readable(name: str) -> str:
    """Return a column's name as an axis shows it."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _draw_line(axes: Axes, chart: Chart) -> None:
    for colour, (name, (x, y)) in zip(_cycle(), chart.groups.items(), strict=False):
        marker = "o" if len(x) <= _MARKED_POINTS else ""
        axes.plot(x, y, color=colour, label=name, linewidth=2, marker=marker, markersize=4.5)
    _finish(axes, chart, grid="y")


def _draw_scatter(axes: Axes, chart: Chart) -> None:
    alpha = 0.7 if len(chart.places) < _MANY_POINTS else 0.35
    for colour, (name, (x, y)) in zip(_cycle(), chart.groups.items(), strict=False):
        axes.scatter(x, y, color=colour, label=name, s=18, alpha=alpha, linewidths=0)
    _finish(axes, chart, grid="both")


def _draw_bar(axes: Axes, chart: Chart) -> None:
    labels = chart.labels
    flat = (
        len(labels) > _LABELLED_BARS or sum(len(label) + 2 for label in labels) > _LABEL_CHARACTERS
    )
    width = 0.72 / len(chart.groups)
    for index, (name, (xs, ys)) in enumerate(chart.groups.items()):
        shift = (index - (len(chart.groups) - 1) / 2) * width
        alone = len(chart.groups) == 1
        places = [place if alone else labels.index(_label(x)) + shift for place, x in enumerate(xs)]
        draw = axes.barh if flat else axes.bar
        bars = draw(places, ys, width, color=_COLOURS[index % len(_COLOURS)], label=name)
        if len(labels) * len(chart.groups) <= 2 * _LABELLED_BARS:
            axes.bar_label(bars, [_number(y) for y in ys], padding=3, fontsize=9, color=_MUTED)
    _finish(axes, chart, grid="x" if flat else "y", flat=flat)
    shown = [
        label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
        for label in labels
    ]
    (axes.set_yticks if flat else axes.set_xticks)(range(len(labels)), shown)
    axes.tick_params(axis="y" if flat else "x", length=0)
    if flat:
        axes.margins(x=0.1)
        axes.invert_yaxis()
    else:
        axes.margins(y=0.1)


def _draw_hist(axes: Axes, chart: Chart) -> None:
    for colour, (name, (values, _)) in zip(_cycle(), chart.groups.items(), strict=False):
        bins = min(40, max(8, round(len(values) ** 0.5)))
        alpha = 1 if len(chart.groups) == 1 else 0.6
        axes.hist(values, bins, color=colour, label=name, alpha=alpha, edgecolor="white")
    _finish(axes, chart, grid="y")


_DRAW: dict[str, Callable[[Axes, Chart], None]] = {
    "line": _draw_line,
    "scatter": _draw_scatter,
    "bar": _draw_bar,
    "hist": _draw_hist,
}


def _cycle() -> list[str]:
    return _COLOURS * 4


def _finish(axes: Axes, chart: Chart, *, grid: str, flat: bool = False) -> None:
    """Label the axes; `flat` says that the values lie along x."""
    axes.set_xlabel(chart.y_label if flat else chart.x_label)
    axes.set_ylabel(chart.x_label if flat else chart.y_label)
    axes.xaxis.grid(grid in ("x", "both"))
    axes.yaxis.grid(grid in ("y", "both"))
    (axes.xaxis if flat else axes.yaxis).set_major_formatter(_NUMBERS)
    places = chart.places
    if chart.kind == "bar":
        return
    if all(isinstance(x, dt.datetime) for x in places):
        locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    elif all(isinstance(x, int) for x in places) and chart.kind == "line":
        # Years: no 2012.5, and no separator of thousands.
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    elif all(isinstance(x, int | float) for x in places):
        axes.xaxis.set_major_formatter(_NUMBERS)


def _label(place: Any) -> str:
    return f"{place:g}" if isinstance(place, float) else str(place)


def _number(value: float) -> str:
    """Return a number as people write it: thousands separated, at most two decimals."""
    if value and abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


_NUMBERS = FuncFormatter(lambda value, _: _number(value))
