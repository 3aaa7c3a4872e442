from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crewmesh.cli.errors import UsageError
from crewmesh.cli.inputs import check_complete, parse_files, parse_inputs

SCHEMA = {
    "type": "object",
    "properties": {
        "question": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "deep": {"type": "boolean"},
        "options": {"type": "object"},
        "columns": {"type": "array"},
        "limit": {"type": ["integer", "null"]},
        "either": {"type": ["string", "integer"]},
        "anything": {},
        "data": {"type": "string", "format": "dataset", "description": "What to read."},
    },
    "required": ["data", "question"],
}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("question=How many?", "How many?"),
        ("question=a=b", "a=b"),
        ("question=", ""),
        ("question=42", "42"),
        ("question=@not-a-file", "@not-a-file"),
        ("count=7", 7),
        ("count=-7", -7),
        ("share=0.25", 0.25),
        ("share=3", 3),
        ("share=1e3", 1000.0),
        ("deep=true", True),
        ("deep=No", False),
        ('options={"a": 1}', {"a": 1}),
        ('columns=["x", "y"]', ["x", "y"]),
        ("limit=5", 5),
        ("limit=null", None),
        ("either=5", "5"),
        ('anything={"a": [1]}', {"a": [1]}),
        ("anything=just text", "just text"),
    ],
)
def test_a_value_becomes_what_the_schema_says(pair: str, value: Any) -> None:
    parsed = parse_inputs([pair], SCHEMA)[pair.partition("=")[0]]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        ("question", "isn't key=value"),
        ("=x", "isn't key=value"),
        ("count=many", "'count' must be integer"),
        ("count=1.5", "'count' must be integer"),
        ("share=nan", "'share' must be number"),
        ("deep=maybe", "'deep' must be boolean"),
        ("options=[1]", "'options' must be JSON object"),
        ("columns={}", "'columns' must be JSON array"),
        ("columns=x,y", "'columns' must be JSON array"),
        ("queston=x", "no input 'queston'"),
    ],
)
def test_a_wrong_value_is_refused_with_what_to_do(pair: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        parse_inputs([pair], SCHEMA)
    assert caught.value.next_step


def test_a_misspelt_input_is_answered_with_the_likely_one() -> None:
    with pytest.raises(UsageError) as caught:
        parse_inputs(["queston=x"], SCHEMA)
    assert caught.value.next_step == "did you mean question?"


def test_an_input_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="given twice"):
        parse_inputs(["count=1", "count=2"], SCHEMA)


def test_inputs_that_a_schema_leaves_open_are_taken() -> None:
    assert parse_inputs(["x=1"], {"additionalProperties": True}) == {"x": 1}
    open_schema = {"additionalProperties": {"type": "string"}}
    assert parse_inputs(["x=1"], open_schema) == {"x": "1"}


@pytest.mark.parametrize("name", ["a.csv", "b.JSONL", "c.ndjson", "d.parquet"])
@pytest.mark.parametrize("form", ["data=@{}", "data={}"])
def test_a_file_is_taken_for_a_dataset_input(tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / name
    path.write_text("x\n1\n")
    assert parse_files([form.format(path)], SCHEMA) == {"data": path}


def test_files_that_can_be_no_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        parse_files([f"data=@{tmp_path}/none.csv"], SCHEMA)
    picture = tmp_path / "a.png"
    picture.touch()
    with pytest.raises(UsageError, match="is no dataset"):
        parse_files([f"data=@{picture}"], SCHEMA)
    with pytest.raises(UsageError, match="'question' takes no file"):
        parse_files(["question=@x.csv"], SCHEMA)


def test_missing_inputs_are_all_named_with_a_command_to_copy() -> None:
    with pytest.raises(UsageError, match="needs inputs data, question") as caught:
        check_complete([], SCHEMA, "analyst")
    assert caught.value.details == ("data: dataset, What to read.", "question: string")
    assert caught.value.next_step == "crewmesh run analyst -f data=@data.csv -i question='...'"


def test_complete_inputs_pass() -> None:
    check_complete(["data", "question"], SCHEMA, "analyst")
