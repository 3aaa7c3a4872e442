from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crewmesh_worker.runner import cache
from crewmesh_worker.tools.catalogue import recommend_items
from crewmesh_worker.tools.context import enter_run
from crewmesh_worker.tools.recommending.columns import Columns, find_columns
from crewmesh_worker.tools.recommending.names import Names
from crewmesh_worker.tools.registry import ToolError


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["user", "item"], Columns("user", "item")),
        (
            ["userId", "movieId", "rating", "timestamp"],
            Columns("userId", "movieId", rating="rating", time="timestamp"),
        ),
        (["CustomerID", "StockCode", "sku", "Quantity"], Columns("CustomerID", "sku", count="Quantity")),
        (["listener", "artist_id", "artist_name", "plays"],
         Columns("listener", "artist_id", count="plays", title="artist_name")),
        (["product_id", "user_name", "stars"], Columns("user_name", "product_id", rating="stars")),
        (["visitor", "title"], Columns("visitor", "title")),
        (["row", "buyer", "book", "book title"], Columns("buyer", "book", title="book title")),
    ],
)  # fmt: skip
def test_columns_are_told_by_their_names(names: list[str], expected: Columns) -> None:
    assert find_columns(dict.fromkeys(names, "VARCHAR"), {}) == expected


def test_a_column_of_dates_says_when_whatever_it_is_called() -> None:
    types = {"reader": "VARCHAR", "book": "BIGINT", "finished": "DATE"}
    assert find_columns(types, {}) == Columns("reader", "book", time="finished")


@pytest.mark.parametrize("names", [["a", "b"], ["user", "b"], ["a", "item"]])
def test_what_is_not_recognised_is_asked_for(names: list[str]) -> None:
    with pytest.raises(ToolError, match="user_column and item_column"):
        find_columns(dict.fromkeys(names, "VARCHAR"), {})


def test_names_are_found_where_they_are_and_nowhere_else() -> None:
    texts = sorted(["", "a", "ab", "b", "é", "zürich", "\N{GRINNING FACE}"], key=str.encode)
    names = Names.of(texts)
    assert [names.find(text) for text in texts] == list(range(len(texts)))
    assert [names[place] for place in range(len(names))] == texts
    assert [names.find(text) for text in ("A", "aa", "zz")] == [None, None, None]


@pytest.fixture
def recommend(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Write a dataset and call the tool on it."""

    def call(content: str, inputs: dict[str, Any] | None = None, **arguments: Any) -> Any:
        path = tmp_path / "interactions.csv"
        path.write_text(content, encoding="utf-8")
        enter_run({"data": path}, inputs or {})
        return json.loads(recommend_items.run(recommend_items.Arguments(**arguments)))

    with cache.using(tmp_path / "cache"):
        yield call


def items(answer: dict[str, Any]) -> list[str]:
    return [item["item"] for item in answer["recommendations"]]


def test_a_disliked_item_is_no_reason_and_is_not_recommended_again(
    recommend: Callable[..., Any],
) -> None:
    rows = ["user,item,rating", "me,liked,5", "me,hated,1"]
    for n in range(4):
        rows += [f"a{n},liked,5", f"a{n},like-liked,4", f"b{n},hated,5", f"b{n},like-hated,5"]
        rows += [f"c{n},else,5"]
    answer = recommend("\n".join(rows), user="me", count=1)
    assert items(answer) == ["like-liked"]
    assert [reason["item"] for reason in answer["recommendations"][0]["because"]] == ["liked"]
    assert "hated" not in items(recommend("\n".join(rows), user="me", count=50))


def test_the_newest_likes_count_most(recommend: Callable[..., Any]) -> None:
    rows = ["user,item,time", "me,old,2020-01-01", "me,new,2026-01-01"]
    for n in range(5):
        rows += [f"a{n},old,2021-01-01", f"a{n},like-old,2021-01-01"]
        rows += [f"b{n},new,2021-01-01", f"b{n},like-new,2021-01-01"]
    assert items(recommend("\n".join(rows), user="me", count=2)) == ["like-new", "like-old"]


def test_numbers_nulls_and_repetitions_are_taken_as_they_come(
    recommend: Callable[..., Any],
) -> None:
    answer = recommend("user,item\n1,10\n1,10\n2,10\n2,20\n,20\n3,\n3,20\n3,30\n", user="1")
    assert answer["model"] | {"columns": None} == {
        "interactions": 6, "users": 3, "items": 3, "columns": None,
    }  # fmt: skip
    assert set(items(answer)) == {"20", "30"}


def test_parquet_and_json_lines_are_interactions_too(
    recommend: Callable[..., Any], tmp_path: Path
) -> None:
    rows = '{"user": "a", "item": "x"}\n{"user": "b", "item": "x"}\n{"user": "b", "item": "y"}\n'
    assert items(recommend(rows, user="a")) == ["y"]


@pytest.mark.parametrize("content", ["user,item\n", "user,item\n,\n"])
def test_a_dataset_without_interactions_is_reported(
    recommend: Callable[..., Any], content: str
) -> None:
    with pytest.raises(ToolError, match="no row has both"):
        recommend(content)


def test_a_rating_that_is_no_number_is_reported(recommend: Callable[..., Any]) -> None:
    with pytest.raises(ToolError, match="'rating' has no value"):
        recommend("user,item,rating\na,x,good\nb,y,bad\n")


def test_the_shares_of_the_reasons_are_what_the_likeness_says(
    recommend: Callable[..., Any],
) -> None:
    rows = ["user,item", "me,a", "me,b"]
    rows += [f"u{n},{item}" for n in range(5) for item in ("a", "x")]
    rows += [f"v{n},{item}" for n in range(3) for item in ("b", "x")]
    rows += [f"w{n},y{n}" for n in range(20)]
    (best, *_) = recommend("\n".join(rows), user="me", count=1)["recommendations"]
    assert best["item"] == "x"
    shares = {reason["item"]: reason["share"] for reason in best["because"]}
    assert shares.keys() == {"a", "b"}
    assert sum(shares.values()) == pytest.approx(1, abs=0.002)
    assert shares["a"] > shares["b"]


def _make(directory: str, started: Any, made: Any) -> None:
    def make(draft: Path) -> None:
        with made.get_lock():
            made.value += 1
        np.save(draft / "array.npy", np.arange(10))

    with cache.using(Path(directory)):
        started.wait()
        kept = cache.make_once("things", "one", make)
        assert np.load(kept / "array.npy").tolist() == list(range(10))


def test_of_processes_that_want_the_same_at_once_one_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The processes get this path, and find this module by it.
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))
    spawn = multiprocessing.get_context("spawn")
    started, made = spawn.Barrier(4), spawn.Value("i", 0)
    processes = [spawn.Process(target=_make, args=(tmp_path, started, made)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert made.value == 1


def test_what_a_killed_run_has_half_made_is_made_again(tmp_path: Path) -> None:
    def die(draft: Path) -> None:
        (draft / "half").touch()
        raise KeyboardInterrupt

    def make(draft: Path) -> None:
        (draft / "whole").touch()

    with cache.using(tmp_path):
        with pytest.raises(KeyboardInterrupt):
            cache.make_once("things", "one", die)
        (tmp_path / "things/.draft-one-left-by-kill").mkdir()
        kept = cache.make_once("things", "one", make)
    assert [file.name for file in kept.iterdir()] == ["whole"]
    assert sorted(entry.name for entry in kept.parent.iterdir()) == ["one", "one.lock"]


def test_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    with cache.using(tmp_path):
        for number in range(20):
            cache.make_once("things", str(number), lambda draft: None)
            cache.make_once("things", "0", lambda draft: None)
    left = {entry.name for entry in (tmp_path / "things").iterdir() if entry.is_dir()}
    assert left == {"0", *map(str, range(5, 20))}
