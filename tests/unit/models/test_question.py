"""What the offline model takes questions about tables to mean."""

from __future__ import annotations

import pytest

from crewmesh_worker.models.rules.question import Query
from crewmesh_worker.models.rules.reader import read_question
from crewmesh_worker.models.rules.table import Column, Table, read_profile, write_profile


def column(name: str, type_: str, distinct: int, low: str, high: str, *values: str) -> Column:
    counts = tuple(range(len(values), 0, -1))
    mean = "1.5" if type_ in ("DOUBLE", "BIGINT") else ""
    return Column(name, type_, 0, distinct, low, high, mean, values, counts)


WEATHER = Table(
    "data",
    1461,
    (
        column("date", "DATE", 1461, "2012-01-01", "2015-12-31"),
        column("precipitation", "DOUBLE", 111, "0.0", "55.9"),
        column("temp_max", "DOUBLE", 67, "-1.6", "35.6"),
        column("temp_min", "DOUBLE", 55, "-7.1", "18.3"),
        column("wind", "DOUBLE", 79, "0.4", "9.5"),
        column("weather", "VARCHAR", 5, "drizzle", "sun", "sun", "fog", "rain", "drizzle", "snow"),
    ),
)
CARS = Table(
    "data",
    406,
    (
        column("Name", "VARCHAR", 311, "amc", "vw"),
        column("Miles_per_Gallon", "DOUBLE", 129, "9.0", "46.6"),
        column("Cylinders", "BIGINT", 5, "3", "8"),
        column("Horsepower", "BIGINT", 93, "46", "230"),
        column("Weight_in_lbs", "BIGINT", 356, "1613", "5140"),
        column("Year", "DATE", 12, "1970-01-01", "1982-01-01"),
        column("Origin", "VARCHAR", 3, "Europe", "USA", "USA", "Japan", "Europe"),
    ),
)


def summary(query: Query) -> str:
    """Return a query in one line: kind, aggregate and measure, group, filters, order, limit."""
    parts = [query.kind]
    if query.kind not in ("open", "rows", "relation", "distribution"):
        parts.append(query.aggregate)
    parts += [c.name for c in (query.measure, query.other) if c]
    if query.group:
        parts.append(f"by {query.group.unit or query.group.column.name}")
    parts += [f"[{f.words}]" for f in query.filters]
    if query.kind in ("groups", "rows") and query.order:
        parts.append(query.order)
    if query.limit:
        parts.append(str(query.limit))
    return " ".join(parts)


@pytest.mark.parametrize(
    ("question", "meaning"),
    [
        ("Which month has the most rain?", "groups sum precipitation by month desc"),
        ("What is the average maximum temperature per year?", "groups avg temp_max by year"),
        ("How many days of snow were there?", "scalar count [weather = snow]"),
        ("Which weather is most common?", "groups count by weather desc"),
        ("Is it getting warmer?", "trend avg temp_max by year"),
        ("Is it raining less?", "trend avg precipitation by year"),
        ("How has wind changed over time?", "trend avg wind by year"),
        ("What stands out in this data?", "open"),
        ("Give me an overview", "open"),
        ("What was the hottest day?", "rows temp_max desc"),
        ("When was it coldest?", "rows temp_min asc"),
        ("What is the highest temperature?", "rows temp_max desc"),
        ("top 10 days by wind", "rows wind desc 10"),
        ("Which day of the week is the windiest?", "groups avg wind by weekday desc"),
        ("the wettest month", "groups sum precipitation by month desc"),
        ("top 3 months by rain", "groups sum precipitation by month desc 3"),
        ("monthly average wind", "groups avg wind by month"),
        ("median precipitation", "scalar median precipitation"),
        ("standard deviation of the wind", "scalar stddev wind"),
        ("median and standard deviation of temp_max", "scalar median temp_max"),
        ("the mean and the median of the wind", "scalar median wind"),
        ("How much rain fell in 2014?", "scalar sum precipitation [2014]"),
        ("How much rain fell in July 2014?", "scalar sum precipitation [July] [2014]"),
        ("rain since 2014", "scalar sum precipitation [since 2014]"),
        ("Compare rain in 2012 and 2014", "groups sum precipitation by year [2012 and 2014]"),
        ("How many days were hotter than 30 degrees?", "scalar count [temp_max > 30]"),
        ("days with wind between 5 and 7", "scalar count [wind 5 to 7]"),
        ("days with at least 20 precipitation", "scalar count [precipitation >= 20]"),
        ("average wind on rainy days", "scalar avg wind [weather = rain]"),
        ("What percentage of days were sunny?", "share count [weather = sun]"),
        ("What percentage of days were rainy?", "share count [weather = rain]"),
        ("How many rainy days per month?", "groups count by month [weather = rain]"),
        ("Which year had the most snow?", "groups count by year [weather = snow] desc"),
        ("Does wind affect temperature?", "relation wind temp_max"),
        ("distribution of wind", "distribution wind"),
        ("distribution of weather", "groups count by weather"),
        ("temp_max in 2014", "scalar avg temp_max [2014]"),
        ("How many different weather types are there?", "scalar distinct weather"),
        ("How many rows are there?", "scalar count"),
        ("maximum temperature per year", "groups max temp_max by year"),
        ("How does temperature change over the year?", "groups avg temp_max by month"),
        ("How many inches of rain fell in 2014?", "scalar sum precipitation [2014]"),
        ("What percentage of days in 2014 were sunny?", "share count [2014] [weather = sun]"),
        ("How often did it snow?", "scalar count [weather = snow]"),
        ("bottom 3 months by rain", "groups sum precipitation by month asc 3"),
        ("Is it rainier in July or December?",
         "groups sum precipitation by month [July and December] desc"),
    ],
)  # fmt: skip
def test_questions_about_weather(question: str, meaning: str) -> None:
    reading = read_question(question, WEATHER)
    assert reading.unread == ()
    assert [summary(query) for query in reading.queries] == [meaning]


@pytest.mark.parametrize(
    ("question", "meaning"),
    [
        ("Which origin has the best miles per gallon?", "groups avg Miles_per_Gallon by Origin desc"),
        ("top 5 cars by horsepower", "rows Horsepower desc 5"),
        ("the five heaviest cars", "rows Weight_in_lbs desc 5"),
        ("How many cars are from Japan?", "scalar count [Origin = Japan]"),
        ("average horsepower of Japanese cars", "scalar avg Horsepower [Origin = Japan]"),
        ("Which car has the highest horsepower?", "rows Horsepower desc"),
        ("least efficient cars", "rows Miles_per_Gallon asc"),
        ("number of cars per origin", "groups count by Origin"),
        ("average mpg by cylinders", "groups avg Miles_per_Gallon by Cylinders"),
        ("average mpg of cars with more than 200 horsepower",
         "scalar avg Miles_per_Gallon [Horsepower > 200]"),
        ("Compare USA and Japan by miles per gallon",
         "groups avg Miles_per_Gallon by Origin [Origin = USA or Japan]"),
        ("has horsepower decreased over time?", "trend avg Horsepower by year"),
        ("Does weight affect horsepower?", "relation Weight_in_lbs Horsepower"),
        ("How many origins are there?", "scalar distinct Origin"),
        ("average mpg of cars with 8 cylinders", "scalar avg Miles_per_Gallon [Cylinders = 8]"),
    ],
)  # fmt: skip
def test_questions_about_cars(question: str, meaning: str) -> None:
    reading = read_question(question, CARS)
    assert reading.unread == ()
    assert [summary(query) for query in reading.queries] == [meaning]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How many goals did Ronaldo score?", ("goals", "ronaldo", "score")),
        ("How many goals in 2014?", ("goals",)),
        ("Which team has the most goals?", ("team", "goals")),
        ("What will the weather be tomorrow?", ("tomorrow",)),
        ("average salary per department", ("salary", "department")),
        ("Why?", ("why",)),
        ("How many days without rain?", ("without",)),
        ("How many days were not sunny?", ("not",)),
        ("days with snow or wind above 5", ("or",)),
        ("average number of rainy days per year", ("average",)),
        ("difference between temp_max and temp_min", ("difference",)),
        ("rain per wind", ("per",)),
        ("How much rain fell last year?", ("last", "year")),
        ("rain on 2014-08-11", ("08", "11")),
    ],
)
def test_a_question_with_a_word_that_fits_nothing_is_not_answered(
    question: str, words: tuple[str, ...]
) -> None:
    reading = read_question(question, WEATHER)
    assert reading.queries == ()
    assert reading.unread == words


@pytest.mark.parametrize(
    "question",
    [
        "What share of rain fell per month?",
        "How has rain changed per weather?",
        "the range of temperatures per month",
        "Does wind affect snow?",
        "the highest median wind",
        "percentage of sunny days with wind above 5",
    ],
)
def test_a_combination_that_no_query_answers_is_not_answered(question: str) -> None:
    reading = read_question(question, WEATHER)
    assert reading.queries == ()
    assert reading.unread == (question.rstrip("?"),)


def test_a_value_that_is_an_everyday_word_is_no_filter() -> None:
    table = Table("data", 9, (*WEATHER.columns, column("letter", "VARCHAR", 2, "", "", "I", "a")))
    assert [
        summary(q) for q in read_question("What is a typical wind, I ask?", table).queries
    ] == []
    assert [summary(q) for q in read_question("average wind by letter", table).queries] == [
        "groups avg wind by letter"
    ]


def test_each_part_of_a_question_is_read_for_itself() -> None:
    question = (
        "How do temperature and rain in Seattle change over the year, and which month is wettest?"
    )
    reading = read_question(question, WEATHER)
    assert [summary(query) for query in reading.queries] == [
        "groups avg temp_max by month",
        "groups sum precipitation by month",
        "groups sum precipitation by month desc",
    ]
    assert reading.subjects == ("Seattle",)


def test_the_part_that_can_be_read_is_answered() -> None:
    reading = read_question("What was the hottest day? Who won the cup?", WEATHER)
    assert [summary(query) for query in reading.queries] == ["rows temp_max desc"]
    assert reading.unread == ("won", "cup")


def test_a_place_is_not_what_all_rows_are_about_when_the_table_has_places() -> None:
    table = Table(
        "data", 9, (*WEATHER.columns, column("city", "VARCHAR", 2, "", "", "Oslo", "Rome"))
    )
    assert read_question("How much rain fell in Rome?", table).queries
    assert read_question("How much rain fell in Paris?", table).unread == ("paris",)


@pytest.mark.parametrize("table", [WEATHER, CARS])
def test_a_profile_in_markdown_is_read_back_as_it_was(table: Table) -> None:
    assert read_profile(f"Before.\n\n{write_profile(table)}\n\nAfter.") == table


def test_a_profile_with_odd_names_and_values_is_read_back() -> None:
    table = Table("data", 2, (column("a|b", "VARCHAR", 2, "x | y", "z", "x | y", "1, 2 (3)"),))
    assert read_profile(write_profile(table)) == table


def test_a_text_without_a_profile_has_none() -> None:
    assert read_profile("Nothing here.\n\n| a |\n| --- |\n| 1 |") is None
