"""Numbers in texts against numbers in results."""

from __future__ import annotations

import pytest

from crewmesh_worker.tools.evidence import Evidence, claims


@pytest.fixture
def evidence() -> Evidence:
    found = Evidence()
    found.add({"columns": ["month", "rain"], "rows": [["2014-11-03", 642.48], ["July", -48.2]]})
    found.add([1461, 0.439, True, None, "LIMIT 5"])
    return found


@pytest.mark.parametrize(
    "text",
    ["642.48", "about 642.5 mm", "642 mm", "**642.5**, more or less", "fell by 48.2", "-48.2",
     "1,461 days", "1461 days", "43.9 % of days", "44%", "0.44", "in 2014", "on 2014-11-03",
     "the top 5", "no numbers at all", "1. first\n2. second", "`SELECT 99`",
     "```sql\nSELECT 123 FROM x\n```", "![a chart](chart-77.png)", "temp_max2 and chart-3.png"],
)  # fmt: skip
def test_numbers_of_results_may_be_stated_rounded_or_in_percent(
    evidence: Evidence, text: str
) -> None:
    assert evidence.unsupported([text]) == []


@pytest.mark.parametrize(
    ("text", "unsupported"),
    [
        ("643 mm", ["643"]),
        ("642.4", ["642.4"]),
        ("1,462 days and 7.5 more", ["1,462", "7.5"]),
        ("45 %", ["45 %"]),
        ("3 and 3 and 3", []),
        ("in 2016, 2016 and 2016", ["2016"]),
        ("1e6", ["1e6"]),
    ],
)
def test_other_numbers_are_listed_once_as_written(
    evidence: Evidence, text: str, unsupported: list[str]
) -> None:
    assert evidence.unsupported([text]) == unsupported


def test_claims_know_how_far_they_are_rounded() -> None:
    (claim,) = claims("about 1,234.50 mm")
    assert (claim.text, claim.value, claim.error) == ("1,234.50", 1234.5, 0.005)
