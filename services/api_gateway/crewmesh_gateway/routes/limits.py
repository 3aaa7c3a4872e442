"""How much of the mesh an organisation may use at once."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from crewmesh.v1.limit_pb2 import CrewLimit, GetLimitsRequest, Limits, SetLimitsRequest
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import JsonRoute
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.translate import limits_json

router = APIRouter(tags=["limits"], route_class=JsonRoute)


@router.get(
    "/v1/limits",
    summary="Show your organisation's limits",
    responses={200: {"model": schemas.Limits}, **problems()},
)
async def get_limits(relay: RequestRelay) -> Response:
    """Show how many runs may be running and queued at once, and how often one may ask."""
    answer = await relay.call(relay.mesh.limits.GetLimits, GetLimitsRequest())
    return Json(limits_json(answer.limits))


@router.put(
    "/v1/limits",
    summary="Replace your organisation's limits",
    responses={200: {"model": schemas.Limits}, **problems(*BODY_FAULTS)},
)
async def set_limits(relay: RequestRelay, body: schemas.SetLimits) -> Response:
    """Replace all limits; for owners and admins.

    They hold for every run that starts from now on. Runs that are running go on, and those
    that are queued stay so, even where they are more than the new limits allow. Every gateway
    holds requests to their limit within 10 seconds, this one at once.
    """
    limits = Limits(
        max_running=body.max_running,
        max_queued=body.max_queued,
        max_requests_per_minute=body.max_requests_per_minute,
        crews=[CrewLimit(crew=crew, max_running=n) for crew, n in sorted(body.crews.items())],
    )
    answer = await relay.call(relay.mesh.limits.SetLimits, SetLimitsRequest(limits=limits))
    org_id = relay.caller.identity.org_id
    relay.gateway.authenticator.forget(lambda principal: principal.org_id == org_id)
    return Json(limits_json(answer.limits))
