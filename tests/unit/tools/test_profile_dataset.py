"""What the profile says of a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from crewmesh_worker.tools.context import RunContext
from crewmesh_worker.tools.registry import ToolError


def test_a_profile_has_rows_columns_and_a_sample(call: Callable[..., str]) -> None:
    profile = json.loads(call("profile_dataset"))
    assert (profile["table"], profile["rows"]) == ("data", 4)
    columns = {column["name"]: column for column in profile["columns"]}
    assert columns["day"] == {
        "name": "day", "type": "DATE", "nulls": 0, "distinct_values": 4,
        "min": "2024-01-01", "max": "2024-02-02",
    }  # fmt: skip
    assert columns["amount"] == {
        "name": "amount", "type": "DOUBLE", "nulls": 1, "distinct_values": 3,
        "min": 10.5, "max": 30.0, "mean": 20.25,
    }  # fmt: skip
    assert columns["shop"]["frequent"] == [
        {"value": "north", "count": 2},
        {"value": "south", "count": 2},
    ]
    assert profile["sample"][0] == {
        "day": "2024-01-01",
        "shop": "north",
        "amount": 10.5,
        "note": "a",
    }


def test_an_unknown_table_is_told_which_there_are(call: Callable[..., str]) -> None:
    with pytest.raises(ToolError, match="no table is named 'sales'; there are: data"):
        call("profile_dataset", table="sales")


def test_the_profile_and_queries_are_evidence(call: Callable[..., str], run: RunContext) -> None:
    assert run.evidence.unsupported(["20.25", "60.75"]) == ["20.25", "60.75"]
    call("profile_dataset")
    call("query_sql", sql="SELECT sum(amount) FROM data")
    assert run.evidence.unsupported(["20.25", "60.75"]) == []
