"""Files that runs made."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from crewmesh.v1.file_pb2 import ListArtifactsRequest, ReadArtifactRequest
from crewmesh_gateway.download import answer_file
from crewmesh_gateway.openapi import problems
from crewmesh_gateway.params import Id
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.schemas import Artifact, Page
from crewmesh_gateway.translate import artifact_json

router = APIRouter(tags=["artifacts"])


@router.get(
    "/v1/runs/{run_id}/artifacts",
    summary="List a run's artifacts",
    responses={200: {"model": Page[Artifact]}, **problems(404)},
)
async def list_artifacts(relay: RequestRelay, run_id: Id) -> Response:
    """List what a run has made so far, in the order of its making, on one page."""
    answer = await relay.call(relay.mesh.files.ListArtifacts, ListArtifactsRequest(run_id=run_id))
    items = [artifact_json(artifact) for artifact in answer.artifacts]
    return Json({"items": items, "next_cursor": None})


@router.get(
    "/v1/artifacts/{artifact_id}",
    summary="Download an artifact",
    responses={200: {"content": {"application/octet-stream": {}}}, **problems(404)},
    response_class=Response,
)
async def read_artifact(relay: RequestRelay, artifact_id: Id) -> Response:
    """Return an artifact's bytes, with its own media type, as an attachment."""
    return await answer_file(
        relay, relay.mesh.files.ReadArtifact, ReadArtifactRequest(id=artifact_id)
    )
