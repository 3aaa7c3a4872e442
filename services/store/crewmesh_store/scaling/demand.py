"""What there is to do, and the metrics that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crewmesh.common.errors import InvalidInputError
from crewmesh_store.database import Database, load_statements

SQL = load_statements("scaling")

_DEFAULT_TARGETS: Final = {
    # Runs a worker; with metricType AverageValue there are demand / target workers.
    "demand": 8.0,
    # Seconds; with metricType Value the workers become age / target times as many.
    "age": 30.0,
}


@dataclass(frozen=True)
class Demand:
    """Runs under way, those that a further worker could begin, and the oldest one's wait."""

    running: int = 0
    startable: int = 0
    oldest_seconds: float = 0.0

    @property
    def active(self) -> bool:
        """Tell whether there is anything to do."""
        return self.running + self.startable > 0

    def value_of(self, metric: str) -> float:
        """Return the value of the metric `demand` (runs) or `age` (seconds)."""
        return self.oldest_seconds if metric == "age" else float(self.running + self.startable)


@dataclass(frozen=True)
class Trigger:
    """What a trigger of a ScaledObject is about: a metric, and how much of it is wanted."""

    metric: str
    target: float

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Trigger:
        """Read a trigger's metadata: `metric` and `target`.

        Raises InvalidInputError for another metric, and for a target that isn't above zero.
        """
        metric = metadata.get("metric", "demand")
        if metric not in _DEFAULT_TARGETS:
            raise InvalidInputError(f"metric is {' or '.join(_DEFAULT_TARGETS)}, not {metric!r}")
        given = metadata.get("target", "")
        try:
            target = float(given) if given else _DEFAULT_TARGETS[metric]
        except ValueError:
            target = 0.0
        if not 0 < target < 1e9:
            raise InvalidInputError(f"target is a number above 0, not {given!r}")
        return cls(metric, target)

    @property
    def name(self) -> str:
        """Return what KEDA calls the metric."""
        return f"crewmesh-{self.metric}"


async def read_demand(database: Database) -> Demand:
    """Return what there is to do now; raise UnavailableError when Postgres is away."""
    row = await database.fetch_one(SQL["read_demand"])
    assert row is not None
    return Demand(row["running"], row["startable"], row["oldest_seconds"])
