"""The organisation's policy: what its runs may use."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from crewmesh.common.policy import Policy, parse_policy
from crewmesh.v1.tenant_pb2 import GetPolicyRequest, PutPolicyRequest
from crewmesh_gateway.bodies import JsonRoute
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json

router = APIRouter(tags=["policy"], route_class=JsonRoute)


@router.get(
    "/v1/policy", summary="Show the policy", responses={200: {"model": Policy}, **problems()}
)
async def get_policy(relay: RequestRelay) -> Response:
    """Show what the organisation's runs may use."""
    answer = await relay.call(relay.mesh.tenants.GetPolicy, GetPolicyRequest())
    return Json(parse_policy(answer.policy_json).model_dump(mode="json"))


@router.put(
    "/v1/policy",
    summary="Set the policy",
    responses={200: {"model": Policy}, **problems(*BODY_FAULTS)},
)
async def put_policy(relay: RequestRelay, body: Policy) -> Response:
    """Set what the organisation's runs may use; for owners and admins.

    It holds for attempts that begin from now on.
    """
    request = PutPolicyRequest(policy_json=body.model_dump_json())
    answer = await relay.call(relay.mesh.tenants.PutPolicy, request)
    return Json(parse_policy(answer.policy_json).model_dump(mode="json"))
