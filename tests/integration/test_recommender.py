"""The recommender crew with the offline model, in real runners, on books that readers rated."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crewmesh.v1.runner_pb2 import Execute
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import to_json
from crewmesh_worker.crews.inputs import validate_inputs
from crewmesh_worker.runner.pool import RunnerPool, RunnerSettings

pytestmark = pytest.mark.long

BOOKS = Path(__file__).parents[2] / "docs" / "crews" / "samples" / "books.csv"


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[RunnerPool]:
    pool = RunnerPool(RunnerSettings(slots=3, spares=1))
    await pool.start()
    yield pool
    await pool.stop()


@pytest.fixture
def recommend(pool: RunnerPool, tmp_path: Path) -> Callable[..., Any]:
    """Run the crew in a runner that no other run has had, and return what it said."""
    definition = Catalogue.load().get("recommender")
    numbers = iter(range(100))

    async def run(data: Path = BOOKS, **inputs: Any) -> tuple[str, dict[str, Any]]:
        complete = validate_inputs(definition, {"data": "books", **inputs})
        runner = await pool.acquire(f"{tmp_path}-{next(numbers)}")
        try:
            request = Execute(
                run_id="run",
                definition_json=to_json(definition),
                inputs_json=json.dumps(complete),
                model="offline",
                dataset_paths={"data": str(data)},
                cache_dir=str(tmp_path / "cache"),
            )
            messages = [message async for message in runner.execute(request)]
        finally:
            await runner.release()
        outputs = [
            json.loads(m.event.payload_json).get("output") or m.event.payload_json
            for m in messages
            if m.event.type in ("tool.completed", "tool.failed")
        ]
        last = messages[-1]
        assert last.HasField("finished"), last
        try:
            return last.finished.output, json.loads(outputs[-1])
        except ValueError:
            return last.finished.output, {}

    return run


def trainings(tmp_path: Path) -> list[Path]:
    return [entry for entry in (tmp_path / "cache/recommenders").iterdir() if entry.is_dir()]


async def test_a_reader_is_recommended_unread_books_of_their_taste_with_true_reasons(
    recommend: Callable[..., Any],
) -> None:
    books = pd.read_csv(BOOKS)
    read = books[books["reader"] == "reader04"]
    answer, said = await recommend(user="reader04", count=3)
    assert said["known_user"]
    assert said["basis"] == "taste"
    assert said["model"]["interactions"] == len(books)
    assert said["model"]["columns"] == {
        "user": "reader", "item": "book", "rating": "rating", "time": "read_on", "title": "title",
    }  # fmt: skip
    # The first 8 books are of the sea, which reader 4 likes.
    recommended = [item["item"] for item in said["recommendations"]]
    assert len(recommended) == 3
    assert set(recommended) <= {f"B{number:02}" for number in range(1, 9)}
    assert not set(recommended) & set(read["book"])
    for item in said["recommendations"]:
        assert f"**{item['title']}** (`{item['item']}`): because you liked" in answer
        liked = read[read["book"].isin([reason["item"] for reason in item["because"]])]
        assert len(liked) == len(item["because"])
        assert (liked["rating"] >= 3).all()
        assert all(reason["title"] in answer for reason in item["because"])
        assert 0 < sum(reason["share"] for reason in item["because"]) <= 1.001
    assert "no language model" in answer


async def test_an_unknown_user_gets_what_is_popular_and_is_told_so(
    recommend: Callable[..., Any],
) -> None:
    answer, said = await recommend(user="somebody", count=5)
    assert answer.startswith("“somebody” is not in the data. This is what is popular")
    assert said["basis"] == "popularity"
    assert [item["because"] for item in said["recommendations"]] == ["popular"] * 5


async def test_what_was_liked_just_now_counts_without_a_new_training(
    recommend: Callable[..., Any], tmp_path: Path
) -> None:
    await recommend(user="somebody")
    answer, said = await recommend(user="somebody", liked=["B09", "B10", "nothing"], count=4)
    assert said["unknown_items"] == ["nothing"]
    assert "Not in the data: “nothing”" in answer
    taste = [item for item in said["recommendations"] if item["because"] != "popular"]
    space = {f"B{number:02}" for number in range(9, 17)}
    assert {item["item"] for item in taste[:3]} <= space - {"B09", "B10"}
    assert len(trainings(tmp_path)) == 1


async def test_two_first_runs_at_once_train_once_and_later_ones_find_the_model(
    recommend: Callable[..., Any], tmp_path: Path
) -> None:
    both = await asyncio.gather(recommend(user="reader01"), recommend(user="reader01"))
    (kept,) = trainings(tmp_path)
    written = {file: file.stat().st_mtime_ns for file in kept.iterdir()}
    again = await recommend(user="reader01")
    assert both[0] == both[1] == again
    assert {file: file.stat().st_mtime_ns for file in kept.iterdir()} == written


async def test_a_kept_model_that_was_damaged_is_trained_again(
    recommend: Callable[..., Any], tmp_path: Path
) -> None:
    before = await recommend(user="reader01")
    (kept,) = trainings(tmp_path)
    (kept / "similar.weights.npy").write_bytes(b"")
    assert await recommend(user="reader01") == before


async def test_a_column_that_is_named_is_used_and_one_that_is_not_there_is_reported(
    recommend: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("who,what\na,x\na,y\nb,x\nb,y\nb,z\nc,x\n", encoding="utf-8")
    answer, _ = await recommend(path, user="a")
    assert re.search("Nothing can be recommended.*user_column and item_column", answer)
    _, said = await recommend(path, user="a", user_column="who", item_column="what")
    assert [item["item"] for item in said["recommendations"]] == ["z"]
    answer, _ = await recommend(path, user="a", user_column="whom")
    assert "names no column: 'whom'; there are: who, what" in answer
