"""Budgets and usage in Postgres; each method is a statement of sql/budgets.sql."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from crewmesh.common.errors import InvalidInputError, StateError, Violation
from crewmesh.v1 import budget_pb2
from crewmesh_store.budgets.messages import budget_from_row, limit_columns, period_name
from crewmesh_store.database import Database, load_statements
from crewmesh_store.messages import moment, parse_id

log = structlog.get_logger(__name__)

SQL = load_statements("budgets")

_MAX_GROUPS = 10_000
_VERDICTS = {
    name.removeprefix("BUDGET_VERDICT_").lower(): value
    for name, value in budget_pb2.BudgetVerdict.items()
}


class BudgetRepository:
    """What may be spent, what is reserved, and what was spent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self, request: budget_pb2.ReserveBudgetRequest
    ) -> budget_pb2.ReserveBudgetResponse:
        """Reserve in every budget that holds for the run, or in none.

        Raises StateError (LEASE_LOST) if the run is another's.
        """
        priced = request.HasField("completion_micros_per_million")
        rows = await self._database.fetch_after(
            SQL["lock_budgets"],
            SQL["reserve"],
            run_id=parse_id(request.run_id, "run"),
            epoch=request.epoch,
            reservation_id=parse_id(request.reservation_id, "reservation"),
            prompt_tokens=request.prompt.tokens,
            prompt_micros=request.prompt.micros if priced else None,
            completion_tokens=request.completion_tokens,
            min_completion_tokens=max(1, request.min_completion_tokens),
            completion_price=request.completion_micros_per_million if priced else None,
        )
        if not rows:
            raise StateError("the run's lease is not yours any more", reason="LEASE_LOST")
        (row,) = rows
        verdict = _VERDICTS[row["verdict"]]
        if verdict == budget_pb2.BUDGET_VERDICT_GRANTED:
            return budget_pb2.ReserveBudgetResponse(
                verdict=verdict, completion_tokens=row["completion"]
            )
        return budget_pb2.ReserveBudgetResponse(
            verdict=verdict, budget=budget_from_row(row), of_run=row["of_run"]
        )

    async def settle(self, request: budget_pb2.SettleBudgetRequest) -> None:
        """Count what a call spent instead of what it had reserved."""
        known = request.HasField("spent")
        await self._database.fetch(
            SQL["settle"],
            run_id=parse_id(request.run_id, "run"),
            epoch=request.epoch,
            reservation_id=parse_id(request.reservation_id, "reservation"),
            tokens=request.spent.tokens if known else None,
            micros=request.spent.micros if known else None,
        )

    async def charge_lost(self) -> int:
        """Count as spent what lost attempts have reserved; return how many calls that were."""
        row = await self._database.fetch_one(SQL["charge_lost"])
        assert row is not None
        count: int = row["n"]
        if count:
            log.info("calls of lost attempts count as spent", calls=count)
        return count

    async def list_all(self, org_id: str) -> list[budget_pb2.Budget]:
        """Return the budgets of the organisation and its keys."""
        rows = await self._database.fetch(SQL["list_budgets"], org_id=org_id)
        return [budget_from_row(row) for row in rows]

    async def put(self, org_id: str, budgets: Sequence[budget_pb2.Budget]) -> None:
        """Replace the budgets of the organisation and its keys.

        Raises InvalidInputError for keys that aren't the organisation's.
        """
        limits = [limit_columns(budget.limit) for budget in budgets]
        unknown = await self._database.fetch(
            SQL["put_budgets"],
            org_id=org_id,
            api_key_ids=[_key_id(budget.api_key_id) for budget in budgets],
            periods=[period_name(budget.period) for budget in budgets],
            max_tokens=[limit["max_tokens"] for limit in limits],
            max_micros=[limit["max_micros"] for limit in limits],
        )
        if unknown:
            raise InvalidInputError(
                "a budget names an API key that your organisation doesn't have",
                violations=[
                    Violation("items.api_key_id", f"there is no API key {row['api_key_id']}")
                    for row in unknown
                ],
            )

    async def usage(
        self, org_id: str, request: budget_pb2.GetUsageRequest
    ) -> list[budget_pb2.UsageGroup]:
        """Return what the organisation's model calls consumed, by what is asked for."""
        rows = await self._database.fetch(
            SQL["get_usage"],
            org_id=org_id,
            by_crew="crew" in request.group_by,
            by_model="model" in request.group_by,
            by_day="day" in request.group_by,
            after=moment(request, "from"),
            before=moment(request, "to"),
            limit=_MAX_GROUPS,
        )
        return [budget_pb2.UsageGroup(**row) for row in rows]


def _key_id(text: str) -> UUID | None:
    return parse_id(text, "API key") if text else None
