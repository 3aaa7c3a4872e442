"""What is asked of the database for a question, and what is said of its answers."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.models.test_question import CARS, WEATHER

from crewmesh_worker.models.rules import prose
from crewmesh_worker.models.rules.findings import plan_findings
from crewmesh_worker.models.rules.markdown import read_sections, read_tables, write_table
from crewmesh_worker.models.rules.prose import Answer
from crewmesh_worker.models.rules.question import Filter, Group, Kind, Query
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


TEMPERATURE, RAIN = WEATHER.numbers[:2]
SNOW = Filter("weather = 'snow'", "weather = snow")


def measuring(kind: Kind, **rest: Any) -> Query:
    return Query(kind, "avg", TEMPERATURE, filters=(SNOW,), **rest)


@pytest.mark.parametrize(
    ("said", "of_nothing"),
    [
        (prose.say_scalar(measuring("scalar"), WEATHER, answer([None, 0])),
         f"No row fits (weather = snow), so there is no average {TEMPERATURE.words}."),
        (prose.say_rows(measuring("rows"), answer()), "No row fits (weather = snow)."),
        (prose.say_bands(measuring("relation", other=RAIN), answer()),
         "No row fits (weather = snow)."),
        (prose.say_spread(measuring("distribution"), answer([None] * 5)),
         "No row fits (weather = snow)."),
        (prose.say_bins(measuring("distribution"), answer()), "No row fits (weather = snow)."),
        (prose.say_years(measuring("trend"), answer([2014, None], [2015, 8.5])),
         "There are not enough years for a development."),
        (prose.say_relation("wind", "rain", None),
         "Wind and rain can't be correlated: one of them is constant."),
        (prose.say_pair(answer(["wind and rain", None])), "No two measures can be correlated."),
    ],
)  # fmt: skip
def test_an_answer_of_nothing_is_said_as_that(said: str, of_nothing: str) -> None:
    assert said == of_nothing


def test_other_numbers_are_said_with_what_they_are_of() -> None:
    different = Query("scalar", "distinct", WEATHER.columns[5])
    assert prose.say_scalar(different, WEATHER, answer([5, 1461])) == (
        "`weather` has **5** different values."
    )
    whole = Query("scalar")
    assert prose.say_scalar(whole, WEATHER, answer([1461, 1461])) == "The data has **1,461** rows."
    top = Query("rows", measure=TEMPERATURE, limit=2, noun="days")
    assert prose.say_rows(top, answer(["Mon", 30.5], ["Tue", 29])) == (
        f"The 2 days with the highest {TEMPERATURE.words}: Mon (30.5), Tue (29)."
    )
    flat = Query("trend", "avg", TEMPERATURE)
    assert prose.say_years(flat, answer([2014, 8.5], [2015, 9.5], [2016, 8.5])) == (
        f"The average {TEMPERATURE.words} came back from **8.5** in 2014 to **8.5** in 2016; "
        "the highest was 9.5 in 2015."
    )


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
