"""crewmesh.v1.BudgetService."""

from __future__ import annotations

from typing import Any

from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh.common.grpc_server import caller
from crewmesh.v1 import budget_pb2, budget_pb2_grpc
from crewmesh_store.budgets.repository import BudgetRepository

_GROUPS = ("crew", "model", "day")
_MAX_BUDGETS = 1_000


class BudgetServicer(budget_pb2_grpc.BudgetServiceServicer):
    """Budgets and usage, over gRPC."""

    def __init__(self, budgets: BudgetRepository) -> None:
        self._budgets = budgets

    async def ReserveBudget(
        self, request: budget_pb2.ReserveBudgetRequest, context: Any
    ) -> budget_pb2.ReserveBudgetResponse:
        return await self._budgets.reserve(request)

    async def SettleBudget(
        self, request: budget_pb2.SettleBudgetRequest, context: Any
    ) -> budget_pb2.SettleBudgetResponse:
        await self._budgets.settle(request)
        return budget_pb2.SettleBudgetResponse()

    async def ListBudgets(
        self, request: budget_pb2.ListBudgetsRequest, context: Any
    ) -> budget_pb2.ListBudgetsResponse:
        budgets = await self._budgets.list_all(caller().require_org())
        return budget_pb2.ListBudgetsResponse(budgets=budgets)

    async def PutBudgets(
        self, request: budget_pb2.PutBudgetsRequest, context: Any
    ) -> budget_pb2.PutBudgetsResponse:
        org_id = caller().require_org()
        _check(request)
        await self._budgets.put(org_id, request.budgets)
        return budget_pb2.PutBudgetsResponse(budgets=await self._budgets.list_all(org_id))

    async def GetUsage(
        self, request: budget_pb2.GetUsageRequest, context: Any
    ) -> budget_pb2.GetUsageResponse:
        for name in request.group_by:
            if name not in _GROUPS:
                raise InvalidInputError(
                    f"usage isn't grouped by {name!r}",
                    violations=[Violation("group_by", f"any of {', '.join(_GROUPS)}")],
                )
        groups = await self._budgets.usage(caller().require_org(), request)
        return budget_pb2.GetUsageResponse(groups=groups)


def _check(request: budget_pb2.PutBudgetsRequest) -> None:
    violations = []
    if len(request.budgets) > _MAX_BUDGETS:
        violations.append(Violation("items", f"at most {_MAX_BUDGETS}"))
    seen = set()
    for index, budget in enumerate(request.budgets):
        place = f"items.{index}"
        if not budget.period:
            violations.append(Violation(f"{place}.period", "day, month or total"))
        limits = [value for _, value in budget.limit.ListFields()]
        if not limits or not all(0 < limit < 2**63 for limit in limits):
            violations.append(Violation(place, "give max_tokens, max_usd or both, above 0"))
        if (budget.api_key_id, budget.period) in seen:
            violations.append(Violation(place, "an earlier one is for the same key and period"))
        seen.add((budget.api_key_id, budget.period))
    if violations:
        raise InvalidInputError("the budgets can't be taken", violations=violations)
