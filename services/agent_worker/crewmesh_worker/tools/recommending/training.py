"""Trains a recommender on a run's dataset of interactions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crewmesh_worker.tools.database import Database, quote
from crewmesh_worker.tools.recommending.columns import Columns
from crewmesh_worker.tools.recommending.model import Model, Rows
from crewmesh_worker.tools.recommending.names import Names
from crewmesh_worker.tools.registry import ToolError

NEIGHBOURS = 50
# After this part of the time that the dataset covers, a like counts half.
_HALF_LIFE = 0.25
_LONGEST_NAME = 512

Arrays = dict[str, NDArray[Any]]


def train(database: Database, table: str, columns: Columns) -> Model:
    """Return a model of the table's interactions.

    Raises ToolError when there are none, or a rating or count is no number.
    """
    users, user_hashes, _ = _names(database, table, columns.user, "")
    items, item_hashes, titles = _names(database, table, columns.item, columns.title)
    if not len(users) or not len(items):
        raise ToolError(f"no row has both {columns.user!r} and {columns.item!r}")
    pairs = database.arrays(_pairs_sql(table, columns))
    user, item = _places(user_hashes, pairs["user"]), _places(item_hashes, pairs["item"])
    order = np.lexsort((item, user))
    user, item = user[order], item[order]
    weights = _weights({name: array[order] for name, array in pairs.items()}, columns)
    liked = weights > 0
    recent = weights * _recency(pairs, columns)[order]
    popularity = np.bincount(item, recent, minlength=len(items))
    return Model(
        users,
        items,
        titles,
        history=Rows(_starts(user, len(users)), item, recent.astype(np.float32)),
        similar=_similar(user[liked], item[liked], weights[liked], len(users), len(items)),
        popular=np.argsort(-popularity, kind="stable").astype(np.int32),
        likes=np.bincount(item[liked], minlength=len(items)).astype(np.int32),
        about={
            "interactions": int(pairs["count"].sum()),
            "users": len(users),
            "items": len(items),
            "columns": columns.as_dict(),
        },
    )


def _names(
    database: Database, table: str, column: str, title: str
) -> tuple[Names, NDArray[np.uint64], Names]:
    """Return a column's texts in order, the hash of each, and what each is called."""
    titled = f", min({quote(title)}::VARCHAR) AS title" if title else ""
    found = database.arrays(
        f"SELECT {quote(column)}::VARCHAR AS name, hash({quote(column)}::VARCHAR) AS hash{titled} "  # noqa: S608
        f"FROM {quote(table)} WHERE {quote(column)} IS NOT NULL "
        f"AND length({quote(column)}::VARCHAR) <= {_LONGEST_NAME} "
        "GROUP BY name, hash ORDER BY name"
    )
    titles = found["title"] if title else np.empty(0, object)
    if np.ma.isMaskedArray(titles):
        titles = titles.filled(None)
    return Names.of(found["name"].tolist()), found["hash"], Names.of(titles.tolist())


def _pairs_sql(table: str, columns: Columns) -> str:
    """Return one row for each user and item that had to do with each other."""
    user, item = f"{quote(columns.user)}::VARCHAR", f"{quote(columns.item)}::VARCHAR"
    fields = [f"hash({user}) AS user", f"hash({item}) AS item", "count(*) AS count"]
    if columns.rating:
        fields.append(f"avg(try_cast({quote(columns.rating)} AS DOUBLE)) AS rating")
    if columns.count:
        fields.append(f"sum(try_cast({quote(columns.count)} AS DOUBLE)) AS amount")
    if columns.time:
        time = quote(columns.time)
        fields.append(
            f"max(coalesce(try_cast({time} AS DOUBLE), epoch(try_cast({time}::VARCHAR AS TIMESTAMP)))) AS time"
        )
    return (
        f"SELECT {', '.join(fields)} FROM {quote(table)} "  # noqa: S608
        f"WHERE {quote(columns.user)} IS NOT NULL AND {quote(columns.item)} IS NOT NULL "
        f"AND length({user}) <= {_LONGEST_NAME} AND length({item}) <= {_LONGEST_NAME} "
        "GROUP BY 1, 2"
    )


def _places(hashes: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Return the place of each hash: joining texts in SQL takes eight times as long."""
    order = np.argsort(hashes)
    return order[np.searchsorted(hashes[order], wanted)].astype(np.int32)


def _weights(pairs: Arrays, columns: Columns) -> NDArray[np.float64]:
    """Return how much each pair means, 0 for a dislike.

    A rating counts from the middle of its scale on, as half to one. What is counted, and
    interactions that recur, count by their logarithm.
    """
    if columns.rating:
        ratings = _filled(pairs["rating"], columns.rating)
        lowest, highest = float(ratings.min()), float(ratings.max())
        middle = (lowest + highest) / 2
        if lowest == highest:
            return np.ones(len(ratings))
        weights = 0.5 + 0.5 * (ratings - middle) / (highest - middle)
        return np.where(ratings >= middle, weights, 0.0)
    amounts = _filled(pairs["amount"], columns.count) if columns.count else pairs["count"]
    return np.where(amounts > 0, 1 + np.log(np.maximum(amounts, 1)), 0.0)


def _recency(pairs: Arrays, columns: Columns) -> NDArray[np.float64]:
    """Return what is left of a like at the time of the newest; 1 where no time is known."""
    times = pairs.get("time")
    if times is None:
        return np.ones(len(pairs["user"]))
    times = _filled(times, columns.time)
    span = float(times.max() - times.min())
    if span == 0:
        return np.ones(len(times))
    return np.asarray(0.5 ** ((times.max() - times) / (span * _HALF_LIFE)))


def _filled(array: NDArray[Any], column: str) -> NDArray[np.float64]:
    """Return a column with the lowest value where there is none."""
    known = np.ma.masked_invalid(array)
    if known.count() == 0:
        raise ToolError(f"the column {column!r} has no value that can be read as a number or time")
    return np.asarray(known.filled(known.min()), np.float64)


def _similar(
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    weights: NDArray[np.float64],
    users: int,
    items: int,
) -> Rows:
    """Return each item's nearest neighbours among the others."""
    # Imported by the few runs that train: it takes a second and loads SciPy.
    from implicit.nearest_neighbours import BM25Recommender
    from scipy.sparse import csr_matrix

    # One thread: OpenMP's would outlive the training, and the machine has other runs.
    recommender = BM25Recommender(K=NEIGHBOURS + 1, num_threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it converts what it is given, and says so
        recommender.fit(csr_matrix((weights, (user, item)), (users, items)), show_progress=False)
    found = recommender.similarity.tocoo()
    others = (found.row != found.col) & (found.data > 0)
    row, column, alike = found.row[others], found.col[others], found.data[others]
    order = np.lexsort((column, row))
    return Rows(
        _starts(row[order], items),
        column[order].astype(np.int32),
        alike[order].astype(np.float32),
    )


def _starts(rows: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return where each of `count` rows begins among sorted row numbers."""
    return np.searchsorted(rows, np.arange(count + 1)).astype(np.int64)
