"""The data-analyst crew with the offline model, on real data, from question to files.

What the answers must hold is worked out here with pandas, not with the crew's own SQL.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import vega_datasets

os.environ.update(
    CREWAI_DISABLE_TELEMETRY="true",
    CREWAI_DISABLE_VERSION_CHECK="true",
    CREWAI_TRACING_ENABLED="false",
)

from crewai.events.stream_context import add_stream_sink

from crewmesh.v1.run_store_pb2 import TaskCheckpoint
from crewmesh.v1.runner_pb2 import RunnerArtifact
from crewmesh_worker.crews.build import build_crew
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.inputs import validate_inputs
from crewmesh_worker.models import make_llm
from crewmesh_worker.runner import artifacts
from crewmesh_worker.runner.checkpoints import resume, to_checkpoint

pytestmark = pytest.mark.long

DATA = Path(vega_datasets.__file__).parent / "_data"
WEATHER, CARS = DATA / "seattle-weather.csv", DATA / "cars.json"
MONTHS = pd.date_range("2000-01-01", periods=12, freq="MS").strftime("%B").tolist()


@dataclass
class Done:
    """A run of the crew: its answer, its tasks' outputs, its files and its events."""

    directory: Path
    answer: str = ""
    outputs: list[Any] = field(default_factory=list)
    saved: list[RunnerArtifact] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)

    @property
    def tools(self) -> list[str]:
        return [e.tool_name for e in self.events if e.type == "tool_usage_started"]

    @property
    def failures(self) -> list[str]:
        return [str(e.error) for e in self.events if e.type == "tool_usage_error"]

    def read(self, name: str) -> str:
        return (self.directory / name).read_text(encoding="utf-8")


Analyse = Callable[..., Done]


@pytest.fixture
def analyse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Analyse:
    """Run the crew on a dataset, each time in a directory and a context of its own."""
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path))
    numbers = iter(range(100))

    def run(
        data: Path,
        question: str | None = None,
        *,
        done_before: list[TaskCheckpoint] | None = None,
    ) -> Done:
        done = Done(tmp_path / str(next(numbers)))
        done.directory.mkdir()
        monkeypatch.chdir(done.directory)
        definition = Catalogue.load().get("data-analyst")
        given = {"data": str(data)} | ({"question": question} if question else {})
        inputs = validate_inputs(definition, given)
        add_stream_sink(lambda _source, event: done.events.append(event))
        with artifacts.saving(done.directory, done.saved.append):
            built = build_crew(definition, inputs, make_llm("offline"))
            resume(built, done_before or [])
            result = built.kickoff(inputs=inputs)
        done.answer, done.outputs = result.raw, result.tasks_output
        return done

    return lambda *args, **kwargs: copy_context().run(run, *args, **kwargs)


@pytest.fixture(scope="module")
def weather() -> pd.DataFrame:
    frame = pd.read_csv(WEATHER, parse_dates=["date"])
    return frame.assign(year=frame["date"].dt.year, month=frame["date"].dt.month_name())


@pytest.fixture(scope="module")
def cars() -> pd.DataFrame:
    return pd.read_json(CARS)


def said(number: float) -> str:
    """Return a number as the answers write it: two decimals at most, thousands separated."""
    return f"{round(float(number), 2):,.2f}".rstrip("0").rstrip(".")


def wettest_months(w: pd.DataFrame) -> list[str]:
    rain = w.groupby("month")["precipitation"].sum().sort_values(ascending=False)
    return [
        f"**{rain.index[0]}**",
        f"**{said(rain.iloc[0])}**",
        rain.index[-1],
        said(rain.iloc[-1]),
    ]


def temperature_by_year(w: pd.DataFrame) -> list[str]:
    means = w.groupby("year")["temp_max"].mean()
    return [f"{year} (**{said(mean)}**)" for year, mean in means.items()]


def snow_days(w: pd.DataFrame) -> list[str]:
    return [f"**{(w['weather'] == 'snow').sum()}** of {len(w):,} days"]


def common_weather(w: pd.DataFrame) -> list[str]:
    counts = w["weather"].value_counts()
    percent = f"({said(round(100 * counts.iloc[0] / len(w), 1))} %)"
    return [f"**{counts.index[0]}** is the most frequent", f"**{counts.iloc[0]}**", percent]


def warming(w: pd.DataFrame) -> list[str]:
    means = w.groupby("year")["temp_max"].mean()
    years = w["date"].map(pd.Timestamp.timestamp) / 31_557_600
    slope = np.polyfit(years, w["temp_max"], 1)[0]
    assert slope > 0
    return ["Yes: ", f"**{slope:.4f}**", f"**{said(means.iloc[0])}** in {means.index[0]}",
            f"**{said(means.iloc[-1])}** in {means.index[-1]}"]  # fmt: skip


def stands_out(w: pd.DataFrame) -> list[str]:
    pairs = w[["precipitation", "temp_max", "temp_min", "wind"]].corr()
    wettest = w.loc[w["precipitation"].idxmax()]
    return [
        *common_weather(w)[:2],
        *wettest_months(w)[:2],
        f"correlation **{pairs.loc['temp_max', 'temp_min']:.3f}**",
        f"**{wettest['date'].date()}**",
        f"**{said(wettest['precipitation'])}**",
    ]


def hot_days(w: pd.DataFrame) -> list[str]:
    return [f"**{(w['temp_max'] > 30).sum()}** of {len(w):,} days"]


def seasons(w: pd.DataFrame) -> list[str]:
    warmth = w.groupby("month")["temp_max"].mean().sort_values()
    extremes = [f"**{warmth.index[-1]}**", said(warmth.iloc[-1]), warmth.index[0]]
    return [*extremes, *wettest_months(w), "“Seattle”"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which month has the most rain?", wettest_months),
        ("What is the average maximum temperature per year?", temperature_by_year),
        ("How many days of snow were there?", snow_days),
        ("How many days were hotter than 30 degrees?", hot_days),
        ("Which weather is most common?", common_weather),
        ("Is it getting warmer?", warming),
        ("What stands out in this data?", stands_out),
        (
            "How do temperature and rain in Seattle change over the year, and which month is wettest?",
            seasons,
        ),
    ],
)
def test_questions_about_the_weather_get_the_numbers_that_pandas_gets(
    analyse: Analyse,
    weather: pd.DataFrame,
    question: str,
    expected: Callable[[pd.DataFrame], list[str]],
) -> None:
    done = analyse(WEATHER, question)
    assert [part for part in expected(weather) if part not in done.answer] == []
    assert done.failures == []
    assert done.tools[0] == "profile_dataset"
    assert done.tools[-1] == "write_report"


def best_origin(c: pd.DataFrame) -> list[str]:
    means = c.groupby("Origin")["Miles_per_Gallon"].mean().sort_values(ascending=False)
    return [f"**{means.index[0]}**", f"**{said(means.iloc[0])}**",
            f"the lowest is {means.index[-1]} with {said(means.iloc[-1])}"]  # fmt: skip


def strongest_cars(c: pd.DataFrame) -> list[str]:
    top = c.sort_values(["Horsepower", "Name"], ascending=[False, True]).head(5)
    names = [f"{row.Name} ({row.Horsepower:.0f})" for row in top.itertuples()]
    return ["The 5 cars", ", ".join(names)]


def weight_and_power(c: pd.DataFrame) -> list[str]:
    return [f"correlation **{c['Weight_in_lbs'].corr(c['Horsepower']):.3f}**"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which origin has the best miles per gallon?", best_origin),
        ("top 5 cars by horsepower", strongest_cars),
        ("Does weight affect horsepower?", weight_and_power),
    ],
)
def test_questions_about_cars_get_the_numbers_that_pandas_gets(
    analyse: Analyse,
    cars: pd.DataFrame,
    question: str,
    expected: Callable[[pd.DataFrame], list[str]],
) -> None:
    done = analyse(CARS, question)
    assert [part for part in expected(cars) if part not in done.answer] == []
    assert done.failures == []


def test_a_question_for_a_median_has_its_statistics_worked_out_and_reported(
    analyse: Analyse, weather: pd.DataFrame
) -> None:
    done = analyse(WEATHER, "What is the median wind in 2013?")
    wind = weather[weather["year"] == 2013]["wind"]
    assert done.failures == []
    assert done.tools.count("compute_statistics") == 1
    assert f"**{said(wind.median())}**" in done.answer
    assert f"the standard deviation {said(wind.std())}." in done.answer
    report = done.read("report.md")
    assert "## Statistics of wind" in report
    assert f"the mean {said(wind.mean())}" in report
    assert f"the standard deviation {said(wind.std())}" in report
    assert f"| {len(wind)} | {round(wind.mean(), 4)} | {round(wind.std(), 4)} |" in report


def test_a_run_hands_in_charts_that_show_something_and_a_report_that_shows_them(
    analyse: Analyse,
) -> None:
    done = analyse(WEATHER)
    names = [artifact.name for artifact in done.saved]
    pictures = [name for name in names if name.endswith(".png")]
    assert len(pictures) == 3
    assert names[-1] == "report.md"
    assert {Path(name).with_suffix(".svg").name for name in pictures} <= set(names)
    report = done.read("report.md")
    for name in pictures:
        picture = matplotlib.image.imread(done.directory / name)
        assert picture.shape[0] >= 700
        assert 0.01 < np.mean(picture[:, :, :3].min(axis=2) < 0.95) < 0.8
        svg = ET.parse(done.directory / Path(name).with_suffix(".svg")).getroot()
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        assert f"]({name})" in report
        assert f"`{name}`" in done.answer
    assert report.startswith("# What stands out in this data?\n")
    assert report.count("```sql") == report.count("\n## ") - 1
    assert "no language model" in done.answer


def test_progress_is_told_task_by_task_and_word_by_word(analyse: Analyse) -> None:
    done = analyse(WEATHER, "Which month has the most rain?")
    completed = [event.output.name for event in done.events if event.type == "task_completed"]
    assert completed == ["profile", "analyse", "chart", "report"]
    assert done.tools == ["profile_dataset", "query_sql", "draw_chart", "write_report"]
    chunks = [event.chunk for event in done.events if event.type == "llm_stream_chunk"]
    assert "".join(chunks).endswith(done.answer)
    calls = [event for event in done.events if event.type == "llm_call_completed"]
    assert len(calls) == 8
    assert all(event.usage["total_tokens"] > 0 for event in calls)


@pytest.mark.parametrize("question", ["How many goals did Ronaldo score?", "Who won the election?"])
def test_a_question_that_the_data_cannot_answer_is_not_answered(
    analyse: Analyse, question: str
) -> None:
    done = analyse(WEATHER, question)
    assert done.answer.startswith("The question can't be answered by rule")
    assert "Here is what the data shows instead." in done.answer
    assert done.failures == []


def test_a_later_attempt_writes_the_report_from_what_was_finished_before(analyse: Analyse) -> None:
    first = analyse(WEATHER, "Which month has the most rain?")
    checkpoints = [to_checkpoint(index, out) for index, out in enumerate(first.outputs[:3])]
    second = analyse(WEATHER, "Which month has the most rain?", done_before=checkpoints)
    assert second.tools == ["write_report"]
    assert second.failures == []
    assert second.answer == first.answer
    assert second.read("report.md") == first.read("report.md")


@pytest.mark.parametrize("content", ["", '{"broken": '])
def test_a_dataset_that_cannot_be_read_ends_in_an_answer_that_says_so(
    analyse: Analyse, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(content, encoding="utf-8")
    done = analyse(path)
    assert "The dataset can't be profiled" in done.answer
    assert done.saved == []


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n",
        "n\n1\n",
        "n\n1\n2\n3\n",
        "word\nx\nx\ny\n",
        "word,empty\nx,\ny,\n",
        'weird "name",sel|ect\n1,`x`\n2,y\n',
        "when,v\n2024-01-01 10:00:00,1\n2024-01-01 11:00:00,2\n2024-01-02 10:00:00,\n",
        "flag,v\ntrue,1\nfalse,2\ntrue,3\n",
        "v\n" + "\n".join(["7"] * 50) + "\n",
        '{"a": {"b": 1}, "c": [1, 2], "d": "2024-01-01", "e": null}\n{"a": null, "c": []}\n',
    ],
)
def test_any_table_gets_an_overview_without_a_failing_tool(
    analyse: Analyse, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(content, encoding="utf-8")
    done = analyse(path)
    assert done.failures == []
    assert "report.md" in done.answer


def test_the_smallest_crew_answers_in_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path))
    definition = Catalogue.load().get("hello")
    inputs = validate_inputs(definition, {"topic": "gRPC"})
    output = build_crew(definition, inputs, make_llm("offline")).kickoff(inputs=inputs)
    assert "gRPC" in output.raw
    assert "no language model" in output.raw
