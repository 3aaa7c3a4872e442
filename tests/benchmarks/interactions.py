"""Interactions made up from tastes, so that there is something to find out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interactions:
    """Who liked what, in the order of time, and the genre of each item and user."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    genres: int

    def csv(self) -> str:
        """Return them as a dataset of the columns user_id and item_id."""
        rows = "\n".join(
            f"u{user},i{item}" for user, item in zip(self.users, self.items, strict=True)
        )
        return f"user_id,item_id\n{rows}\n"

    def genre(self, item: int) -> int:
        """Return the genre of an item; a user of the same remainder prefers it."""
        return item % self.genres


def make_interactions(
    rows: int, users: int, items: int, genres: int = 20, seed: int = 1
) -> Interactions:
    """Return that many; four of five are of the user's genre, and few items get most."""
    random = np.random.default_rng(seed)
    user = (random.pareto(1.5, rows) * users / 30).astype(np.int64) % users
    place = (random.pareto(1.0, rows) * items / genres / 20).astype(np.int64) % (items // genres)
    own = random.random(rows) < 0.8
    genre = np.where(own, user % genres, random.integers(0, genres, rows))
    return Interactions(user, place * genres + genre, genres)
