"""Budgets and usage: what runs may spend, and what they did."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from crewmesh.v1.budget_pb2 import (
    Budget,
    BudgetPeriod,
    GetUsageRequest,
    ListBudgetsRequest,
    PutBudgetsRequest,
)
from crewmesh_gateway import schemas_of_tenants as schemas
from crewmesh_gateway.bodies import JsonRoute
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.params import Moment
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.translate import as_timestamp, budget_json, limit_proto, usage_group_json

router = APIRouter(tags=["budgets"], route_class=JsonRoute)

_GROUPS = ("crew", "model", "day")


@router.get(
    "/v1/budgets",
    summary="List budgets",
    responses={200: {"model": schemas.Budgets}, **problems()},
)
async def list_budgets(relay: RequestRelay) -> Response:
    """List the budgets of the organisation and its keys, with what is gone of each."""
    answer = await relay.call(relay.mesh.budgets.ListBudgets, ListBudgetsRequest())
    return Json({"items": [budget_json(budget) for budget in answer.budgets]})


@router.put(
    "/v1/budgets",
    summary="Set budgets",
    responses={200: {"model": schemas.Budgets}, **problems(404, *BODY_FAULTS)},
)
async def put_budgets(relay: RequestRelay, body: schemas.SetBudgets) -> Response:
    """Replace all budgets; for owners and admins.

    A budget that stays keeps what is spent of it, and a new one begins with what its period
    has seen. It holds for attempts that begin from now on.
    """
    budgets = [
        Budget(
            api_key_id=item.api_key_id or "",
            period=BudgetPeriod.Value(f"BUDGET_PERIOD_{item.period.upper()}"),
            limit=limit_proto(item),
        )
        for item in body.items
    ]
    request = PutBudgetsRequest(budgets=budgets)
    answer = await relay.call(relay.mesh.budgets.PutBudgets, request)
    return Json({"items": [budget_json(budget) for budget in answer.budgets]})


@router.get(
    "/v1/usage",
    summary="Show usage",
    responses={200: {"model": schemas.Usage}, **problems(422)},
)
async def get_usage(
    relay: RequestRelay,
    group_by: Annotated[
        str, Query(max_length=100, description="Any of crew, model and day, with commas.")
    ] = "",
    after: Annotated[Moment | None, Query(alias="from", description="From this time on.")] = None,
    before: Annotated[Moment | None, Query(alias="to", description="Before this time.")] = None,
) -> Response:
    """Sum up what model calls consumed, over all of them or by what is asked for."""
    names = [name for name in group_by.split(",") if name]
    request = GetUsageRequest(group_by=names, to=as_timestamp(before))
    if after is not None:
        getattr(request, "from").FromDatetime(after)
    answer = await relay.call(relay.mesh.budgets.GetUsage, request)
    return Json({"items": [usage_group_json(group, names) for group in answer.groups]})
