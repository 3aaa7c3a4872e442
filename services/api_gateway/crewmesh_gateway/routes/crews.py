"""What can be run."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from crewmesh.v1.agent_pb2 import GetCrewRequest, ListCrewsRequest
from crewmesh_gateway.openapi import problems
from crewmesh_gateway.params import Name
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.schemas import Crew, Page
from crewmesh_gateway.translate import crew_json

router = APIRouter(tags=["crews"])


@router.get("/v1/crews", summary="List crews", responses={200: {"model": Page[Crew]}, **problems()})
async def list_crews(relay: RequestRelay) -> Response:
    """List every crew, on one page."""
    answer = await relay.call(relay.mesh.agents.ListCrews, ListCrewsRequest())
    return Json({"items": [crew_json(crew) for crew in answer.crews], "next_cursor": None})


@router.get(
    "/v1/crews/{name}", summary="Show a crew", responses={200: {"model": Crew}, **problems(404)}
)
async def get_crew(relay: RequestRelay, name: Name) -> Response:
    """Show a crew: its agents, its tasks and the JSON Schema of the inputs it takes."""
    answer = await relay.call(relay.mesh.agents.GetCrew, GetCrewRequest(name=name))
    return Json(crew_json(answer.crew))
