"""What is asked of the database for a question, and what is said of its answers."""

from __future__ import annotations

import pytest
from tests.unit.models.test_question import CARS, WEATHER

from crewmesh_worker.models.rules import prose
from crewmesh_worker.models.rules.findings import plan_findings
from crewmesh_worker.models.rules.markdown import read_sections, read_tables, write_table
from crewmesh_worker.models.rules.prose import Answer
from crewmesh_worker.models.rules.question import Group, Query
from crewmesh_worker.models.rules.reader import read_question


def titles(question: str) -> list[str]:
    return [f.title for f in plan_findings(read_question(question, WEATHER), WEATHER).findings]


def test_a_single_number_is_set_beside_others() -> None:
    assert titles("How many days of snow were there?") == [
        "Number of days (weather = snow)",
        "Number of days by year (weather = snow)",
    ]
    assert titles("How much rain fell in 2014?")[1] == "Total precipitation by month (2014)"


def test_the_same_query_is_made_once() -> None:
    assert titles("How does rain change over the year, and which month is wettest?") == [
        "Total precipitation by month"
    ]


def test_an_unread_question_says_so_and_gets_an_overview() -> None:
    plan = plan_findings(read_question("How many goals?", WEATHER), WEATHER)
    assert "“goals” can't be read" in plan.note
    assert "`temp_max`" in plan.note
    assert len(plan.findings) == plan.answering == 5


def test_names_that_stand_for_all_rows_are_admitted() -> None:
    plan = plan_findings(read_question("wind in Seattle", WEATHER), WEATHER)
    assert "“Seattle”" in plan.note


def test_values_and_names_are_quoted_in_sql() -> None:
    plan = plan_findings(read_question("How many cars are from Japan?", CARS), CARS)
    assert "\"Origin\" = 'Japan'" in plan.findings[0].sql


def answer(*rows: list[object]) -> Answer:
    return Answer(
        ["k", "v", "p"][: len(rows[0])] if rows else [], [list(r) for r in rows], len(rows)
    )


BY_WEATHER = Query("groups", group=Group(WEATHER.columns[5]), order="desc")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["sun", 9, 50.0], ["fog", 5, 27.8], ["rain", 4, 22.2]],
         "**sun** is the most frequent weather: **9** (50 %), followed by fog with 5; the least frequent is rain with 4."),
        ([["sun", 9, 50.0], ["fog", 9, 50.0], ["rain", 1, 0.1]],
         "**sun** and **fog** are the most frequent weather: **9** (50 %), followed by rain with 1."),
        ([["sun", 9, 50.0], ["fog", 9, 50.0]],
         "All 2 groups have the same number of rows: **9**."),
        ([["sun", 9, 100.0]], "**sun** is the most frequent weather: **9** (100 %)."),
        ([], "No row fits."),
    ],
)  # fmt: skip
def test_rankings_name_their_ends_and_their_ties(rows: list[list[object]], said: str) -> None:
    assert prose.say_groups(BY_WEATHER, answer(*rows)) == said


@pytest.mark.parametrize(
    ("change", "fit", "rows", "verdict"),
    [
        (0.9, 0.5, 100, "Yes: "),
        (-0.9, -0.5, 100, "No: "),
        (0.9, 0.05, 100, "Not clearly: "),
        (0.9, 0.05, 10_000, "Yes: "),
        (None, None, 1, "There is too little data"),
    ],
)
def test_a_verdict_needs_more_than_chance(
    change: float | None, fit: float | None, rows: int, verdict: str
) -> None:
    query = read_question("Is it getting warmer?", WEATHER).queries[0]
    assert prose.say_slope(query, answer([change, fit, rows])).startswith(verdict)


def test_a_lower_number_is_what_a_falling_question_supposes() -> None:
    query = read_question("Is it getting colder?", WEATHER).queries[0]
    assert prose.say_slope(query, answer([-0.5, -0.6, 100])).startswith("Yes: temp min falls by")


@pytest.mark.parametrize(
    ("value", "said"),
    [(1461, "1,461"), (642.5, "642.5"), (17.0, "17"), (0.000125, "0.000125"), ("July", "July")],
)
def test_numbers_are_said_as_people_write_them(value: object, said: str) -> None:
    assert prose.say_number(value) == said


def test_tables_and_sections_are_read_back() -> None:
    table = write_table(["a", "b"], [[1, "x | y"], [None, "z"]])
    assert read_tables(f"Text.\n\n{table}\n") == [[{"a": "1", "b": "x | y"}, {"a": "", "b": "z"}]]
    text = (
        f"## Findings\n\n### One\n\nIt is so.\n\n```sql\nSELECT 1\n```\n\n{table}\n\n### Two\n\nNo."
    )
    one, two = read_sections(text)
    assert (one.heading, one.text, one.sql, len(one.table)) == ("One", "It is so.", "SELECT 1", 2)
    assert (two.heading, two.text, two.sql, two.table) == ("Two", "No.", "", [])
