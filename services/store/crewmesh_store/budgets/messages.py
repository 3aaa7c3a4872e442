"""Rows of budgets and usage to messages and back."""

from __future__ import annotations

from crewmesh.v1 import budget_pb2
from crewmesh_store.database import Row
from crewmesh_store.messages import limit_from_row, timestamp

_PERIOD_BY_NAME = {
    name.removeprefix("BUDGET_PERIOD_").lower(): value
    for name, value in budget_pb2.BudgetPeriod.items()
}
_NAME_BY_PERIOD = {value: name for name, value in _PERIOD_BY_NAME.items()}


def period_name(period: budget_pb2.BudgetPeriod.ValueType) -> str | None:
    """Return the database's name of a period; None for UNSPECIFIED."""
    return _NAME_BY_PERIOD[period] if period else None


def limit_columns(limit: budget_pb2.BudgetLimit) -> dict[str, int | None]:
    """Return a limit as `max_tokens` and `max_micros`."""
    return {
        "max_tokens": limit.max_tokens if limit.HasField("max_tokens") else None,
        "max_micros": limit.max_micros if limit.HasField("max_micros") else None,
    }


def budget_from_row(row: Row) -> budget_pb2.Budget:
    """Return a budget with what is spent and reserved of it in its current period."""
    return budget_pb2.Budget(
        api_key_id=str(row["api_key_id"] or ""),
        period=_PERIOD_BY_NAME[row["period"]],
        limit=limit_from_row(row),
        period_start=timestamp(row["begun"]),
        spent=budget_pb2.Amount(tokens=row["spent_tokens"], micros=row["spent_micros"]),
        reserved=budget_pb2.Amount(tokens=row["reserved_tokens"], micros=row["reserved_micros"]),
    )
