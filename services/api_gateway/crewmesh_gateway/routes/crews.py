"""What can be run: crews, their versions, and the tools that they may use."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BeforeValidator
from starlette.exceptions import HTTPException
from starlette.responses import Response

from crewmesh.v1.agent_pb2 import (
    CrewFormat,
    DeleteCrewRequest,
    DiffCrewRequest,
    GetCrewRequest,
    ListCrewsRequest,
    ListCrewVersionsRequest,
    ListToolsRequest,
    PutCrewRequest,
    RollbackCrewRequest,
)
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import JsonRoute, read_body
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.params import CREW_VERSION, Cursor, Limit, Name
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.schemas import Page
from crewmesh_gateway.translate import crew_json, crew_version_json, tool_json

router = APIRouter(tags=["crews"], route_class=JsonRoute)

MAX_DEFINITION_BYTES: Final = 256 * 1024
# The first time it may take seconds to say what the tools are.
_TOOLS_SECONDS = 30.0

_FORMATS: Final = {
    "application/json": CrewFormat.CREW_FORMAT_JSON,
    "application/yaml": CrewFormat.CREW_FORMAT_YAML,
    "application/x-yaml": CrewFormat.CREW_FORMAT_YAML,
    "text/yaml": CrewFormat.CREW_FORMAT_YAML,
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A definition: ours, CrewAI's, or a classic pair; at most 256 KiB.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}


def _with_plus(version: object) -> object:
    """Return a version whose `+` was not escaped, which makes a space of it in a query."""
    return version.replace(" ", "+") if isinstance(version, str) else version


Version = Annotated[
    str | None,
    BeforeValidator(_with_plus),
    Query(pattern=CREW_VERSION, description="By default the current one."),
]


@router.get(
    "/v1/crews",
    summary="List crews",
    responses={200: {"model": Page[schemas.Crew]}, **problems(422)},
)
async def list_crews(relay: RequestRelay, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List the crews that you can run, by name, without their definitions."""
    request = ListCrewsRequest(page_size=limit, page_token=cursor or "")
    answer = await relay.call(relay.mesh.agents.ListCrews, request)
    items = [crew_json(crew) for crew in answer.crews]
    return Json({"items": items, "next_cursor": answer.next_page_token or None})


@router.get(
    "/v1/crews/{name}",
    summary="Show a crew",
    responses={200: {"model": schemas.Crew}, **problems(404, 422)},
)
async def get_crew(relay: RequestRelay, name: Name, version: Version = None) -> Response:
    """Show a crew: its agents, its tasks, the JSON Schema of its inputs, its definition."""
    request = GetCrewRequest(name=name, version=version or "")
    answer = await relay.call(relay.mesh.agents.GetCrew, request)
    return Json(crew_json(answer.crew))


@router.put(
    "/v1/crews/{name}",
    summary="Bring a crew",
    status_code=200,
    responses={
        200: {"model": schemas.PutCrew, "description": "Its next version, or the current one"},
        201: {"model": schemas.PutCrew, "description": "The crew, which is new"},
        **problems(409, *BODY_FAULTS),
    },
    openapi_extra=_BODY,
)
async def put_crew(relay: RequestRelay, request: Request, name: Name) -> Response:
    """Take a definition as the crew's next version, which is current from then on.

    The content of the current version again makes no version. Every fault is listed with its
    place. Needs the role developer, admin or owner.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _FORMATS:
        raise HTTPException(
            415, "a crew is JSON or YAML, with Content-Type: application/json or application/yaml"
        )
    content = await read_body(request, MAX_DEFINITION_BYTES)
    put = PutCrewRequest(name=name, content=content, format=_FORMATS[media_type])
    answer = await relay.call(relay.mesh.agents.PutCrew, put)
    return Json(
        {**crew_json(answer.crew), "changed": answer.changed},
        201 if answer.created else 200,
        {"Location": f"/v1/crews/{name}"},
    )


@router.delete(
    "/v1/crews/{name}",
    summary="Delete a crew",
    status_code=204,
    responses=problems(404, 409),
)
async def delete_crew(relay: RequestRelay, name: Name) -> Response:
    """Delete a crew; runs of it that were accepted go on. Needs the role developer or above."""
    await relay.call(relay.mesh.agents.DeleteCrew, DeleteCrewRequest(name=name))
    return Response(status_code=204)


@router.get(
    "/v1/crews/{name}/versions",
    summary="List a crew's versions",
    responses={200: {"model": Page[schemas.CrewVersion]}, **problems(404, 422)},
)
async def list_crew_versions(
    relay: RequestRelay, name: Name, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List a crew's versions, newest first."""
    request = ListCrewVersionsRequest(name=name, page_size=limit, page_token=cursor or "")
    answer = await relay.call(relay.mesh.agents.ListCrewVersions, request)
    items = [crew_version_json(version) for version in answer.versions]
    return Json({"items": items, "next_cursor": answer.next_page_token or None})


@router.get(
    "/v1/crews/{name}/diff",
    summary="Compare two versions",
    responses={200: {"model": schemas.CrewDiff}, **problems(404, 422)},
)
async def diff_crew(
    relay: RequestRelay,
    name: Name,
    from_: Annotated[
        str | None,
        BeforeValidator(_with_plus),
        Query(alias="from", pattern=CREW_VERSION, description="By default the one before `to`."),
    ] = None,
    to: Version = None,
) -> Response:
    """Show what changed between two versions, as a unified diff of YAML in one fixed form."""
    request = DiffCrewRequest(name=name, from_version=from_ or "", to_version=to or "")
    answer = await relay.call(relay.mesh.agents.DiffCrew, request)
    return Json(
        {
            "name": name,
            "from": answer.from_version,
            "to": answer.to_version,
            "diff": answer.diff,
        }
    )


@router.post(
    "/v1/crews/{name}/rollback",
    summary="Go back to a version",
    responses={200: {"model": schemas.Crew}, **problems(404, 409, *BODY_FAULTS)},
)
async def roll_back_crew(relay: RequestRelay, name: Name, body: schemas.RollBackCrew) -> Response:
    """Make a version current; runs that were accepted keep theirs. Needs developer or above."""
    request = RollbackCrewRequest(name=name, version=str(body.version))
    answer = await relay.call(relay.mesh.agents.RollbackCrew, request)
    return Json(crew_json(answer.crew))


@router.get(
    "/v1/tools",
    summary="List tools",
    responses={200: {"model": Page[schemas.Tool]}, **problems()},
)
async def list_tools(relay: RequestRelay) -> Response:
    """List what agents of any definition may use, on one page."""
    answer = await relay.call(
        relay.mesh.agents.ListTools, ListToolsRequest(), seconds=_TOOLS_SECONDS
    )
    return Json({"items": [tool_json(tool) for tool in answer.tools], "next_cursor": None})
