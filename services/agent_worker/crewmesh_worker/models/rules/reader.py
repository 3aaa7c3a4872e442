"""Reads questions about a table by rule.

Every word with content must be accounted for; a part of a question with one that isn't
is not answered at all, since an answer to half of it is a wrong one.
"""

from __future__ import annotations

import re

from crewmesh_worker.models.rules.deciding import Asked, decide
from crewmesh_worker.models.rules.filters import take_filters
from crewmesh_worker.models.rules.grouping import rank_of, take_group, take_ranked_unit
from crewmesh_worker.models.rules.question import Group, Order, Query, Reading
from crewmesh_worker.models.rules.table import Column, Table
from crewmesh_worker.models.rules.text import Text
from crewmesh_worker.models.rules.words import (
    AGGREGATES,
    QUALITIES,
    UNITS,
    plural,
    quality_of,
    singular,
    vocabulary,
)

_PARTS = re.compile(
    r"[?.;!]+\s+|,?\s+(?:and|or|but)\s+(?=(?:which|what|how|when|is|are|was|were|do|does|did)\b)",
    re.IGNORECASE,
)
_COUNTS = ("how many", "number of", "count of", "count")
_SEASONAL = ("over the year", "through the year", "throughout the year", "during the year")
_TOP = ("top", "bottom", "first")
_MAX_LIMIT = 50
_RISING, _FALLING = vocabulary("rising"), vocabulary("falling")
_ASKS, _EXTREMES, _ROWS = vocabulary("asks"), vocabulary("extreme"), vocabulary("row")
_AMOUNTS, _PLACES, _GROUPERS = (vocabulary(name) for name in ("amount", "place", "grouper"))


def read_question(question: str, table: Table) -> Reading:
    """Return what the question asks of the table, part by part."""
    readings = [_Part(part, table).read() for part in _PARTS.split(question) if part.strip()]
    return Reading(
        tuple(dict.fromkeys(q for reading in readings for q in reading.queries)),
        tuple(dict.fromkeys(w for reading in readings for w in reading.unread)),
        tuple(dict.fromkeys(w for reading in readings for w in reading.subjects)),
    )


class _Part:
    """One part of a question. Its methods take words: what is left over is not understood."""

    def __init__(self, question: str, table: Table) -> None:
        self.question = question.strip(" ?.!")
        self.table = table
        self.text = Text(question, table.columns)
        self.asked = Asked()
        # Places after which the rows are named: "how many (cars)".
        self.noun_places: list[int] = []

    def read(self) -> Reading:
        text, asked = self.text, self.asked
        if text.takes(vocabulary("open")) or not text.words:
            return Reading((Query("open"),))
        self._take_cues()
        asked.limit = self._take_limit()
        rows = any(singular(word) in _ROWS for word in text.words)
        counting = asked.counting or (asked.share and rows)
        asked.filters = take_filters(text, self.table, counting=counting)
        asked.group = take_group(text, self.table, asked.filters, self.noun_places)
        self._take_measures()
        self._take_nouns()
        subjects = self._take_subjects()
        if unknown := [text.words[place] for place in text.unknown]:
            # What "average" and "per" belong to is what isn't known.
            things = [word for word in unknown if word not in AGGREGATES and word not in _GROUPERS]
            return Reading(unread=tuple(things or unknown))
        queries = decide(asked, self.table)
        return Reading(tuple(queries), () if queries else (self.question,), subjects)

    def _take_cues(self) -> None:
        text, asked = self.text, self.asked
        asked.supposed = self._supposed()
        asked.seasonal = any(text.phrase(phrase) is not None for phrase in _SEASONAL)
        more = text.words[0] in _ASKS and text.words[-1] in ("more", "less")
        over_time = text.phrase("over time") is not None
        moving = text.takes(_RISING | _FALLING | vocabulary("changing"))
        asked.trend = (moving or over_time or more) and not asked.seasonal
        asked.relation = text.takes(vocabulary("relation"))
        asked.share = text.takes(vocabulary("share"))
        asked.spread = text.takes(vocabulary("distribution"))
        asked.common = text.takes(vocabulary("common"))
        asked.counting = self._take_counting()

    def _supposed(self) -> int:
        """Return the direction that a yes-or-no question about a development supposes."""
        words = self.text.words
        if words[0] not in _ASKS:
            return 0
        if words[-1] == "less" or _FALLING & set(words):
            return -1
        for word in words:
            quality = quality_of(word)
            if quality and word != quality:
                return 1 if QUALITIES[quality] else -1
        return 1 if words[-1] == "more" or _RISING & set(words) else 0

    def _take_counting(self) -> bool:
        text = self.text
        for phrase in _COUNTS:
            place = text.phrase(phrase)
            if place is not None:
                self.noun_places.append(place)
                # "how many inches of rain" asks how much.
                return place >= len(text.words) or text.words[place] not in _AMOUNTS
        return False

    def _take_limit(self) -> int | None:
        text = self.text
        for place in range(len(text.words)):
            number = text.number(place)
            if number is None or not number.isdecimal() or not 0 < int(number) <= _MAX_LIMIT:
                continue
            top = text.before(place) in _TOP
            after = range(place + 1, len(text.words))
            compared = text.before(place) in ("than", "over", "above", "under", "below")
            if top or (not compared and any(rank_of(text, other) for other in after)):
                text.take(place)
                text.takes({"first"})
                self.noun_places.append(place + 1)
                return int(number)
        return None

    def _take_measures(self) -> None:
        """Take what is measured and ranked, and how."""
        text, asked, table = self.text, self.asked, self.table
        order, ranking = self._order()
        asked.measures, measuring = self._take_numbers(order)
        if asked.seasonal and asked.group is None and table.date:
            asked.group = Group(table.date, "month")
        asked.group = asked.group or take_ranked_unit(text, table)
        if asked.group is None and (found := text.take_column(table.categories)):
            if asked.counting and not asked.measures:
                asked.measures = [found[0]]
            else:
                asked.group = Group(found[0])
        asked.aggregate = self._take_aggregate(measuring)
        # "average maximum temperature" and "maximum by year" rank nothing.
        named = {text.words[place] for place in ranking} <= _EXTREMES
        asked.order = None if named and (asked.group or asked.aggregate == "avg") else order
        text.take(*ranking)
        if ranking or asked.limit or asked.group:
            text.takes({"by"})

    def _order(self) -> tuple[Order | None, list[int]]:
        """Return which end of a ranking is asked for, and the words that say so."""
        text = self.text
        places = range(len(text.words))
        free = [place for place in places if not text.used[place] and place not in text.names]
        ranking = {place: order for place in free if (order := rank_of(text, place))}
        top: Order | None = "desc" if self.asked.limit or self.asked.common else None
        return next(reversed(ranking.values()), top), list(ranking)

    def _take_numbers(self, order: Order | None) -> tuple[list[Column], list[int]]:
        """Take the numbers that are asked for; return them as named, and the words."""
        preferred = "min" if order == "asc" else "max"
        numbers = sorted(self.table.numbers, key=lambda column: preferred not in column.tokens)
        named: list[tuple[list[int], Column]] = []
        while found := self.text.take_column(numbers):
            named.append((found[1], found[0]))
        named.sort(key=lambda pair: pair[0])
        measures = list(dict.fromkeys(column for _, column in named))
        return measures, [place for places, _ in named for place in places]

    def _take_aggregate(self, measuring: list[int]) -> str:
        """Return what is computed, "" where it isn't said; `measuring` name the measures."""
        text = self.text
        said = {
            place: AGGREGATES[word]
            for place, word in enumerate(text.words)
            if word in AGGREGATES
            and place not in text.names
            and (not text.used[place] or place in measuring)
        }
        if not self.asked.measures:
            # Of a count there is a total, but no average that rules could take.
            text.take(*(place for place, name in said.items() if name in ("sum", "distinct")))
            return "count"
        text.take(*said)
        apart = {name for place, name in said.items() if place not in measuring}
        for names in (apart - {"max", "min"}, set(said.values()) & {"max", "min"}):
            if names:
                # The statistics that go with these have the mean and the extremes too.
                return min(names & {"median", "stddev"} or names)
        return ""

    def _take_nouns(self) -> None:
        """Take the words by which the question calls the rows, where that can be."""
        text, unknown = self.text, self.text.unknown
        after = {next((u for u in unknown if u >= place), -1) for place in self.noun_places}
        for place, word in enumerate(text.words):
            if text.used[place]:
                continue
            one = singular(word)
            thing = place in after and one not in UNITS
            thing = thing or (unknown == [place] and word != one)
            if (one in _ROWS and word != "time") or (self.table.holds_things and thing):
                text.take(place)
                self.asked.noun = plural(word)

    def _take_subjects(self) -> tuple[str, ...]:
        """Take names, when only they are unknown: the table may be about "Seattle" as a whole."""
        if any(_PLACES & set(column.tokens) for column in self.table.columns):
            return ()
        names = self.text.unknown
        if not all(self.text.proper[place] for place in names):
            return ()
        self.text.take(*names)
        return tuple(self.text.words[place].capitalize() for place in names)
