"""Whatever is asked of whatever table, the queries run and their answers can be said."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import vega_datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from crewmesh_worker.models.rules.findings import plan_findings
from crewmesh_worker.models.rules.prose import Answer
from crewmesh_worker.models.rules.reader import read_question
from crewmesh_worker.models.rules.table import Table, table_from_profile
from crewmesh_worker.tools.context import RunContext, enter_run
from crewmesh_worker.tools.registry import load_tool

DATA = Path(vega_datasets.__file__).parent / "_data"
NAMES = ("seattle-weather.csv", "cars.json", "stocks.csv", "driving.json", "wheat.json")

WORDS = """
which what how many much when is are average median total maximum lowest most least common top 5 three highest
hottest driest warmer cheapest rain rainy temperature temp_max wind weather snow sun date day days month year
weekday monthly per by each in since before between 2013 and 2014 2005 july december over under above 30 10 more
than less at least not or share percentage distribution correlation affect trend changed increasing falling time
the of a different cars horsepower miles gallon origin japan usa europe cylinders 8 price symbol aapl stock side
left gas wages wheat rows number count compare versus getting Seattle stands out
"""
QUESTIONS = st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=10).map(" ".join)


@cache
def opened(name: str) -> tuple[RunContext, Table]:
    context = enter_run({"data": DATA / name})
    tool = load_tool("profile_dataset")
    return context, table_from_profile(json.loads(tool.run(tool.arguments())))


def answers(question: str, name: str) -> list[str]:
    context, table = opened(name)
    plan = plan_findings(read_question(question, table), table)
    assert plan.findings
    said = []
    for finding in plan.findings:
        result = context.database.query(finding.sql)
        said.append(finding.say(Answer(result.columns, result.rows, result.total)))
    return said


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(QUESTIONS, st.sampled_from(NAMES))
def test_questions_of_familiar_words_get_queries_that_run(question: str, name: str) -> None:
    for text in answers(question, name):
        assert text.endswith(".")
        assert "None" not in text


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=60), st.sampled_from(NAMES))
def test_questions_of_any_characters_get_queries_that_run(question: str, name: str) -> None:
    assert answers(question, name)


@pytest.mark.parametrize(
    "question", ["'; DROP TABLE data; --", "how many 'sun'\"", "weather = ' OR 1=1", "{x} %s \\"]
)
def test_questions_are_never_part_of_the_sql(question: str) -> None:
    assert answers(question, "seattle-weather.csv")
    context, _ = opened("seattle-weather.csv")
    assert context.database.query("SELECT count(*) FROM data").rows == [[1461]]
