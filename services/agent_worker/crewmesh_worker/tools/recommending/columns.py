"""Which columns of an interactions dataset say who liked what, how much and when."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from crewmesh_worker.tools.registry import ToolError

_USERS = "user customer client member account visitor session buyer reader listener viewer reviewer"
_ITEMS = (
    "item product movie film book song track artist album article sku asin isbn video game show "
    "course recipe restaurant hotel app listing offer page"
)
_RATINGS = "rating rate stars star score grade"
_COUNTS = "count counts plays play quantity qty clicks views listens purchases visits times weight"
_TIMES = "timestamp time date datetime ts at when"
_TITLES = "title name label"
# They say that a column identifies something, not what.
_SILENT = frozenset(["id", "ids", "key", "code", "no", "number", "uuid"])
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True)
class Columns:
    """Names of columns; "" for what the dataset doesn't say."""

    user: str
    item: str
    # An opinion on a scale, such as 1 to 5.
    rating: str = ""
    # How often or how much: plays, purchases.
    count: str = ""
    time: str = ""
    # What people call the item.
    title: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return those that there are."""
        return {name: column for name, column in asdict(self).items() if column}


def find_columns(types: Mapping[str, str], given: Mapping[str, Any]) -> Columns:
    """Return which column says what: those that the run's inputs name, else by their names.

    `types` are DuckDB's, by the names of the columns.

    Raises ToolError, naming the columns, where an input names none of them and where the
    user's or the item's column can't be told.
    """
    names = list(types)
    chosen = {role: _given(names, given, role) for role in ("user", "item", "rating", "time")}
    free = [name for name in names if name not in chosen.values()]

    def take(role: str, words: str) -> str:
        found = chosen.get(role) or _named(free, words)
        if found in free:
            free.remove(found)
        return found

    user = take("user", _USERS)
    item = take("item", _ITEMS) or take("item", _TITLES)
    if not user or not item:
        missing = " and ".join(r for r, name in (("user", user), ("item", item)) if not name)
        raise ToolError(
            f"no column is recognised as the {missing}; the dataset has: {', '.join(names)}. "
            "Name them with the inputs user_column and item_column"
        )
    rating = take("rating", _RATINGS)
    return Columns(
        user,
        item,
        rating="" if rating and _tells(rating, _COUNTS) else rating,
        count=rating if rating and _tells(rating, _COUNTS) else take("count", _COUNTS),
        time=take("time", _TIMES) or next((name for name in free if _is_time(types[name])), ""),
        title=take("title", _TITLES),
    )


def _is_time(type_: str) -> bool:
    return type_.startswith(("DATE", "TIMESTAMP"))


def _given(names: Sequence[str], given: Mapping[str, Any], role: str) -> str:
    column = str(given.get(f"{role}_column") or "")
    if column and column not in names:
        raise ToolError(
            f"the input {role}_column names no column: {column!r}; there are: {', '.join(names)}"
        )
    return column


def _named(names: Sequence[str], words: str) -> str:
    """Return the column that says nothing else, or else the first that says it too."""
    telling = [name for name in names if _tells(name, words)]
    alone = [name for name in telling if _tokens(name) <= set(words.split())]
    return next(iter([*alone, *telling]), "")


def _tells(name: str, words: str) -> bool:
    wanted = set(words.split())
    return any(token in wanted or token.removesuffix("s") in wanted for token in _tokens(name))


def _tokens(name: str) -> set[str]:
    tokens = {token.lower() for token in _WORD.findall(name)}
    return tokens - _SILENT or tokens
