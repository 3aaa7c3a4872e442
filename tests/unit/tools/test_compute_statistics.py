from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewmesh_worker.tools.context import enter_run
from crewmesh_worker.tools.registry import ToolError
from crewmesh_worker.tools.statistics.merging import histogram, merge, quantile, variance
from crewmesh_worker.tools.statistics.parts import sort_and_sum
from crewmesh_worker.tools.statistics.pool import processes_for
from crewmesh_worker.tools.statistics.pool import sort_and_sum as sort_in_pool

Call = Callable[..., str]
finite = st.floats(-1e6, 1e6, width=32)
many_parts = st.lists(st.lists(finite, min_size=1, max_size=30), min_size=1, max_size=6)


@given(many_parts, st.floats(0, 1))
def test_parts_merge_into_what_the_whole_list_gives(lists: list[list[float]], q: float) -> None:
    parts = [np.array(part) for part in lists]
    whole = np.concatenate(parts)
    merged = merge([sort_and_sum(part) for part in parts])
    assert (merged.count, merged.min, merged.max) == (len(whole), whole.min(), whole.max())
    assert merged.sum == pytest.approx(math.fsum(whole), abs=1e-6)
    assert merged.mean == pytest.approx(whole.mean(), abs=1e-6)
    assert merged.sum_squares == pytest.approx(math.fsum(whole * whole), rel=1e-9)
    if len(whole) > 1:
        assert variance(merged) == pytest.approx(whole.var(ddof=1), rel=1e-6, abs=1e-6)
    assert quantile(parts, q) == pytest.approx(np.quantile(whole, q), rel=1e-9, abs=1e-9)
    if merged.min < merged.max:
        counts = histogram(parts, merged.min, merged.max, 7)["counts"]
        assert counts == np.histogram(whole, 7)[0].tolist()


def test_the_variance_of_numbers_far_from_zero_is_right() -> None:
    numbers = [1e9 + n % 3 for n in range(3000)]
    exact = [Fraction(int(number)) for number in numbers]
    mean = sum(exact) / len(exact)
    expected = float(sum((x - mean) ** 2 for x in exact) / (len(exact) - 1))
    parts = [sort_and_sum(np.array(numbers[n::7])) for n in range(7)]
    assert variance(merge(parts)) == pytest.approx(expected, rel=1e-9)


def test_a_pool_of_processes_gives_what_one_gives(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(1).normal(size=10_001)
    ordered, parts = sort_in_pool(numbers.copy(), processes=2)
    ((one,), (alone,)) = sort_in_pool(numbers.copy(), processes=1)
    assert [len(part) for part in ordered] == [5000, 5001]
    assert np.array_equal(np.sort(np.concatenate(ordered)), one)
    assert merge(parts).mean == pytest.approx(alone.mean)
    assert merge(parts).m2 == pytest.approx(alone.m2)
    assert quantile(ordered, 0.9) == pytest.approx(quantile([one], 0.9))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("numbers", "cores", "processes"),
    [
        (1_000, 64, 1),
        (1_000_000, 64, 1),
        (10_000_000, 1, 1),
        (40_000_000, 2, 1),
        (50_000_000, 2, 2),
        (15_000_000, 8, 1),
        (25_000_000, 8, 8),
        (25_000_000, 64, 8),
    ],
)
def test_processes_are_started_when_they_save_more_than_they_cost(
    numbers: int, cores: int, processes: int
) -> None:
    assert processes_for(numbers, cores) == processes


def test_columns_of_the_dataset_get_their_statistics(call: Call) -> None:
    answer = json.loads(call("compute_statistics", bins=2))
    assert answer.keys() == {"amount"}
    amount = answer["amount"]
    assert (amount["count"], amount["left_out"]) == (3, 1)
    assert amount["sum"] == 60.75
    assert amount["mean"] == pytest.approx(20.25)
    assert amount["standard_deviation"] == pytest.approx(np.std([10.5, 20.25, 30], ddof=1))
    assert amount["quantiles"] == {"0.25": 15.375, "0.5": 20.25, "0.75": 25.125}
    assert amount["histogram"] == {"edges": [10.5, 20.25, 30.0], "counts": [1, 2]}


def test_a_query_chooses_the_numbers(call: Call) -> None:
    sql = "SELECT amount FROM data WHERE shop = 'north';"
    answer = json.loads(call("compute_statistics", sql=sql, quantiles=[0.5]))
    assert answer["amount"]["quantiles"] == {"0.5": 20.25}


@pytest.mark.parametrize("values", [[7.0], [7.0, 7.0]])
def test_numbers_in_the_call_need_no_dataset(values: list[float]) -> None:
    enter_run({})
    from crewmesh_worker.tools.catalogue import compute_statistics

    arguments = compute_statistics.Arguments(values=values)
    answer = json.loads(compute_statistics.run(arguments))["values"]
    assert (answer["mean"], answer["histogram"]["counts"]) == (7, [len(values)])
    assert answer["variance"] == (0 if len(values) > 1 else None)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"columns": ["shop"]}, "no numeric column is named shop; there are: amount"),
        ({"sql": "SELECT shop FROM data"}, "there is no numeric column among: shop"),
        ({"sql": "DROP TABLE data"}, "syntax error"),
        ({"sql": "SELECT 1", "values": [1]}, "give one of columns, sql and values"),
        ({"quantiles": [95]}, "95 % is 0.95"),
    ],
)
def test_what_cannot_be_worked_out_is_reported(
    call: Call, arguments: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ToolError, match=fault):
        call("compute_statistics", **arguments)


def test_too_many_numbers_are_refused_before_they_are_read(call: Call) -> None:
    sql = "SELECT 1.5 AS x FROM range(60000000)"
    with pytest.raises(ToolError, match="60,000,000 rows are too many"):
        call("compute_statistics", sql=sql)
