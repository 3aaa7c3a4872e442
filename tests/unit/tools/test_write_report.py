"""Reports: every number founded, every figure there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crewmesh.v1.runner_pb2 import RunnerArtifact
from crewmesh_worker.tools.context import RunContext
from crewmesh_worker.tools.registry import ToolError

BY_SHOP = "SELECT shop, sum(amount) AS total FROM data GROUP BY 1 ORDER BY 1"
SECTION: dict[str, Any] = {"heading": "By shop", "text": "North sold **40.5**.", "sql": BY_SHOP}


def test_a_report_shows_text_figure_table_and_query(
    call: Callable[..., str], saved: list[RunnerArtifact]
) -> None:
    call("draw_chart", title="By shop", kind="bar", sql=BY_SHOP, x="shop", y="total")
    section = {**SECTION, "figure": "by-shop.png"}
    answer = call(
        "write_report", title="Sales\nin 2024", summary="North leads.", sections=[section]
    )
    assert json.loads(answer) == {"report": "report.md", "sections": 1, "figures": ["by-shop.png"]}
    report = Path("report.md").read_text(encoding="utf-8")
    assert report.startswith(
        "# Sales in 2024\n\nNorth leads.\n\n## By shop\n\nNorth sold **40.5**."
    )
    assert "![By shop](by-shop.png)" in report
    assert "| north | 40.5 |" in report
    assert f"```sql\n{BY_SHOP}\n```" in report
    assert (saved[-1].name, saved[-1].media_type) == ("report.md", "text/markdown")


def test_numbers_that_no_result_holds_are_refused_and_nothing_is_written(
    call: Callable[..., str], saved: list[RunnerArtifact]
) -> None:
    wrong = {**SECTION, "text": "North sold 41.7, south 20.25, all of them 987."}
    with pytest.raises(ToolError, match=r"41\.7, 987") as raised:
        call("write_report", title="Sales", summary="About 40.5.", sections=[wrong])
    assert "20.25" not in str(raised.value)
    assert not Path("report.md").exists()
    assert saved == []


@pytest.mark.parametrize("field", ["title", "summary", "heading"])
def test_every_text_of_the_report_is_checked(call: Callable[..., str], field: str) -> None:
    report: dict[str, Any] = {"title": "t", "summary": "s", "sections": [dict(SECTION)]}
    (report["sections"][0] if field == "heading" else report)[field] = "There are 555."
    with pytest.raises(ToolError, match="555"):
        call("write_report", **report)


def test_the_profile_is_evidence_even_when_nobody_asked_for_it(call: Callable[..., str]) -> None:
    call("write_report", title="t", summary="The 4 rows average 20.25.", sections=[])


def test_a_section_with_a_wrong_query_is_refused(call: Callable[..., str]) -> None:
    with pytest.raises(ToolError, match="Columns of data"):
        call("write_report", title="t", summary="s", sections=[{**SECTION, "sql": "SELECT x"}])


def test_a_figure_that_was_not_drawn_is_refused(call: Callable[..., str]) -> None:
    with pytest.raises(ToolError, match=r"no chart is named made-up\.png; there are: none"):
        call(
            "write_report", title="t", summary="s", sections=[{**SECTION, "figure": "made-up.png"}]
        )


def test_a_figure_of_an_earlier_attempt_is_taken(call: Callable[..., str], run: RunContext) -> None:
    run.earlier_outputs = lambda: ["- **By shop**: `by-shop.png` (bar chart)"]
    call("write_report", title="t", summary="s", sections=[{**SECTION, "figure": "by-shop.png"}])


def test_long_tables_are_cut_and_say_so(call: Callable[..., str]) -> None:
    section = {"heading": "Many", "text": "-", "sql": "SELECT range AS n FROM range(30)"}
    call("write_report", title="t", summary="s", sections=[section])
    assert "… and 18 more rows." in Path("report.md").read_text(encoding="utf-8")


def test_a_pipe_in_a_value_does_not_break_the_table(call: Callable[..., str]) -> None:
    section = {"heading": "Pipe", "text": "-", "sql": "SELECT 'a|b' AS v"}
    call("write_report", title="t", summary="s", sections=[section])
    assert "| a\\|b |" in Path("report.md").read_text(encoding="utf-8")
