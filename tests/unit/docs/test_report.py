"""The report: a plot for each benchmark that has figures, and its tables quoted as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from tests import report

ROOT = Path(__file__).parents[3]


def test_every_benchmark_with_figures_is_drawn(tmp_path: Path) -> None:
    drawn = report.plot(tmp_path)
    assert {name for name, *_ in drawn} == {path.stem for path in report.BENCHMARKS.glob("*.json")}
    for name, *_ in drawn:
        assert len(list(ET.parse(tmp_path / f"{name}.svg").iter())) > 50
    report.write(tmp_path, drawn, [report.Covered("lines", 9_125, 10_000)])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "9,125 of 10,000 lines, 91.2 %" in page
    assert page.count("<img") == len(drawn)


def test_the_report_quotes_the_benchmarks_as_they_stand() -> None:
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    quoted = text.split("### Speed")[1].split("### Growth")[0]
    source = (report.BENCHMARKS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [lrpc]\w.*\|$", quoted, re.MULTILINE)
    assert len(rows) == 5
    assert [row for row in rows if row not in source] == []
    recovery = (report.BENCHMARKS / "recovery.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (a\w* .*?) \| \d+ \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE):
        assert re.search(rf"^\| {row[0]} \|.*\| {row[1]} \| {row[2]} \|$", recovery, re.MULTILINE)
    holding = text.split("### Holding")[1].split("###")[0]
    (chaos,) = re.findall(r"[\d,]+ runs and \d+ faults in \d+ s, \d+ violations", holding)
    assert chaos in (ROOT / "docs" / "chaos.md").read_text(encoding="utf-8")
    soak = (ROOT / "docs" / "soak.md").read_text(encoding="utf-8")
    (minutes, runs, events) = re.findall(
        r"([\d,]+) minutes of steady load, ([\d,]+) runs that succeeded and ([\d,]+) events",
        holding,
    )[0]
    assert f"a steady load for {minutes} minutes" in " ".join(soak.split())
    assert f"| runs succeeded | {runs} |" in soak
    assert f"| events seen | {events} |" in soak
