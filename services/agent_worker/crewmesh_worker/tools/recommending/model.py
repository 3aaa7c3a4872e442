"""A trained recommender: its arrays, kept as files and mapped, and what it recommends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crewmesh_worker.tools.recommending.names import Names

# Changes with what the files mean.
FORMAT = 1
_REASONS = 3
_META = "model.json"


@dataclass(frozen=True)
class Model:
    """Users and items are numbered in the order of their names.

    `history` has a row for each user: the items they had to do with and how much they
    liked each, 0 for not at all. `similar` has a row for each item: its neighbours and how
    alike they are. `popular` orders the items; `likes` says by how many users each is liked.
    """

    users: Names
    items: Names
    titles: Names
    history: Rows
    similar: Rows
    popular: NDArray[np.int32]
    likes: NDArray[np.int32]
    about: dict[str, Any]

    def save(self, directory: Path) -> None:
        """Write the arrays, one in a file, into an empty directory."""
        for name, array in self._arrays().items():
            np.save(directory / f"{name}.npy", array, allow_pickle=False)
        (directory / _META).write_text(json.dumps(self.about), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Model:
        """Map what `save` wrote. Raises OSError, EOFError or ValueError for anything else."""

        def read(name: str) -> Any:
            mapped = np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            return mapped.view(np.ndarray)  # slices of a memmap are slow to make

        users, items, titles = (
            Names(read(f"{name}.text"), read(f"{name}.offsets"))
            for name in ("users", "items", "titles")
        )
        history, similar = (
            Rows(read(f"{name}.starts"), read(f"{name}.items"), read(f"{name}.weights"))
            for name in ("history", "similar")
        )
        about = json.loads((directory / _META).read_text(encoding="utf-8"))
        model = cls(users, items, titles, history, similar, read("popular"), read("likes"), about)
        if (len(history), len(similar), len(model.popular)) != (len(users), len(items), len(items)):
            raise ValueError(f"the arrays in {directory} don't belong together")
        return model

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {"popular": self.popular, "likes": self.likes}
        for name in ("users", "items", "titles"):
            names: Names = getattr(self, name)
            arrays |= {f"{name}.text": names.text, f"{name}.offsets": names.offsets}
        for name in ("history", "similar"):
            rows: Rows = getattr(self, name)
            arrays |= {
                f"{name}.starts": rows.starts,
                f"{name}.items": rows.items,
                f"{name}.weights": rows.weights,
            }
        return arrays

    def recommend(self, user: int | None, liked: Iterable[int], count: int) -> list[dict[str, Any]]:
        """Return at most `count` items that the user hasn't had to do with, the best first.

        `liked` are items liked besides those of the user's history. What likeness doesn't
        fill, popularity does. Each comes with its reasons.
        """
        seen, weights = self.history.row(user) if user is not None else self.history.none
        more = np.fromiter(liked, np.int32)
        seen = np.concatenate([seen, more])
        weights = np.concatenate([weights, np.ones(len(more), np.float32)])
        sources, items, shares = self._likeness(seen, weights)
        scores = np.bincount(items, shares, minlength=len(self.items))
        scores[seen] = 0
        (found,) = np.nonzero(scores > 0)
        # Equal scores in the items' order, so that the answer is always the same.
        best = found[np.lexsort((found, -scores[found]))][:count]
        chosen = [
            self._because(int(item), float(scores[item]), sources, items, shares) for item in best
        ]
        taken = {*seen.tolist(), *best.tolist()}
        for item in self.popular:
            if len(chosen) == count:
                break
            if int(item) not in taken and self.likes[item]:
                chosen.append(self._popular(int(item)))
        return chosen

    def _likeness(
        self, seen: NDArray[np.int32], weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Return, for every neighbour of a liked item, that item, itself and its share."""
        sources, items, shares = [], [], []
        for item, weight in zip(seen.tolist(), weights.tolist(), strict=True):
            if weight > 0:
                near, alike = self.similar.row(item)
                sources.append(np.full(len(near), item, np.int32))
                items.append(near)
                shares.append(alike * np.float64(weight))
        if not sources:
            return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0)
        return np.concatenate(sources), np.concatenate(items), np.concatenate(shares)

    def _because(
        self,
        item: int,
        score: float,
        sources: NDArray[np.int32],
        items: NDArray[np.int32],
        shares: NDArray[np.float64],
    ) -> dict[str, Any]:
        mine = items == item
        reasons = sorted(zip(-shares[mine], sources[mine], strict=True))[:_REASONS]
        return {
            **self.name(item),
            "score": round(score, 4),
            "because": [
                {**self.name(int(source)), "share": round(-float(share) / score, 3)}
                for share, source in reasons
            ],
        }

    def _popular(self, item: int) -> dict[str, Any]:
        return {**self.name(item), "because": "popular", "liked_by": int(self.likes[item])}

    def name(self, item: int) -> dict[str, str]:
        """Return an item's id, and its title where it has one."""
        named = {"item": self.items[item]}
        if len(self.titles) and (title := self.titles[item]):
            named["title"] = title
        return named


@dataclass(frozen=True)
class Rows:
    """Rows of items with weights: row n is at starts[n] to starts[n + 1]."""

    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return a row's items and weights."""
        within = slice(self.starts[number], self.starts[number + 1])
        return self.items[within], self.weights[within]

    @property
    def none(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """A row without items."""
        return self.items[:0], self.weights[:0]
