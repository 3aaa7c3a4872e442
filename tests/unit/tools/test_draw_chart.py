"""Charts: real files, with the data in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib.image
import numpy as np
import pytest

from crewmesh.v1.runner_pb2 import RunnerArtifact
from crewmesh_worker.tools.registry import ToolError

BY_SHOP = "SELECT shop, sum(amount) AS total FROM data GROUP BY 1 ORDER BY 1"
BY_DAY = "SELECT day, amount FROM data ORDER BY day"


def inked(path: Path) -> float:
    """Return the part of a picture that isn't white."""
    picture = matplotlib.image.imread(path)
    return float(np.mean(picture[:, :, :3].min(axis=2) < 0.95))


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "bar", "sql": BY_SHOP, "x": "shop", "y": "total"},
        {"kind": "line", "sql": BY_DAY, "x": "day", "y": "amount"},
        {"kind": "scatter", "sql": "SELECT amount, length(note) AS n FROM data", "x": "amount",
         "y": "n"},
        {"kind": "hist", "sql": "SELECT amount FROM data", "x": "amount"},
        {"kind": "bar", "sql": "SELECT month(day) AS m, shop, sum(amount) AS t FROM data GROUP BY ALL",
         "x": "m", "y": "t", "series": "shop"},
        {"kind": "line", "sql": "SELECT day, shop, amount FROM data", "x": "day", "y": "amount",
         "series": "shop"},
    ],
)  # fmt: skip
def test_each_kind_is_drawn_as_png_and_svg(
    call: Callable[..., str], saved: list[RunnerArtifact], arguments: dict[str, str]
) -> None:
    answer = json.loads(call("draw_chart", title="Sales of the shops", **arguments))
    assert answer["files"] == ["sales-of-the-shops.png", "sales-of-the-shops.svg"]
    assert [(a.name, a.media_type) for a in saved] == [
        ("sales-of-the-shops.png", "image/png"),
        ("sales-of-the-shops.svg", "image/svg+xml"),
    ]
    assert 0.01 < inked(Path("sales-of-the-shops.png")) < 0.8
    root = ET.parse("sales-of-the-shops.svg").getroot()
    assert root.tag.endswith("svg")
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10


def test_a_legend_is_drawn_only_for_several_series(call: Callable[..., str]) -> None:
    sql = "SELECT day, shop, amount FROM data"
    call("draw_chart", title="one", kind="line", sql=sql, x="day", y="amount")
    call("draw_chart", title="two", kind="line", sql=sql, x="day", y="amount", series="shop")
    assert "legend_1" not in Path("one.svg").read_text(encoding="utf-8")
    assert "legend_1" in Path("two.svg").read_text(encoding="utf-8")


def test_the_same_chart_is_the_same_file(call: Callable[..., str]) -> None:
    for title in ("first", "second"):
        call("draw_chart", title="T", kind="bar", sql=BY_SHOP, x="shop", y="total")
        Path("t.svg").rename(title) if title == "first" else Path("t-2.svg").rename(title)
    assert Path("first").read_bytes() == Path("second").read_bytes()


def test_charts_of_one_title_get_names_of_their_own(call: Callable[..., str]) -> None:
    names = [
        json.loads(call("draw_chart", title="Same!", kind="bar", sql=BY_SHOP, x="shop", y="total"))[
            "chart"
        ]
        for _ in range(3)
    ]
    assert names == ["same.png", "same-2.png", "same-3.png"]


def test_charts_asked_for_at_once_are_all_drawn(call: Callable[..., str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        drawn = [
            pool.submit(
                copy_context().run, call, "draw_chart",
                title=f"Chart {n}", kind="bar", sql=BY_SHOP, x="shop", y="total",
            )
            for n in range(4)
        ]  # fmt: skip
        charts = {json.loads(future.result())["chart"] for future in drawn}
    assert charts == {f"chart-{n}.png" for n in range(4)}
    assert len({Path(chart).stat().st_size for chart in charts}) >= 1
    assert all(inked(Path(chart)) > 0.01 for chart in charts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "bar", "x": "city", "y": "total"}, "has no column 'city'; it has: shop, total"),
        ({"kind": "bar", "x": "shop"}, "needs y"),
        ({"kind": "bar", "x": "total", "y": "shop"}, "'shop' must be numeric"),
        ({"kind": "hist", "x": "shop"}, "'shop' must be numeric"),
        ({"kind": "bar", "x": "shop", "y": "total", "sql": "SELECT NULL AS shop, 1 AS total"},
         "nothing to draw"),
        ({"kind": "bar", "x": "shop", "y": "total",
          "sql": "SELECT range AS shop, 1 AS total FROM range(41)"}, "at most 40"),
        ({"kind": "line", "x": "shop", "y": "total",
          "sql": "SELECT range AS shop, 1 AS total FROM range(5001)"}, "aggregate or sample"),
        ({"kind": "line", "x": "shop", "y": "total", "series": "s",
          "sql": "SELECT 1 AS shop, 1 AS total, range AS s FROM range(9)"}, "at most 8 series"),
        ({"kind": "bar", "x": "shop", "y": "total", "series": "s",
          "sql": "SELECT 1 AS shop, 1 AS total, 'a' AS s FROM range(2)"}, "recurs within"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_says_what_to_change(
    call: Callable[..., str], saved: list[RunnerArtifact], arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        call("draw_chart", title="x", **{"sql": BY_SHOP, **arguments})
    assert saved == []


def test_a_dollar_in_a_title_is_no_formula(call: Callable[..., str]) -> None:
    call("draw_chart", title="Cost in $ and $x^", kind="bar", sql=BY_SHOP, x="shop", y="total")
