"""The fleet: the workers that there are, and what waits for them."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from crewmesh.v1.run_store_pb2 import ListWorkersRequest
from crewmesh_gateway import schemas_of_fleet as schemas
from crewmesh_gateway.openapi import problems
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.translate import queue_json, worker_json

router = APIRouter(tags=["workers"])


@router.get(
    "/v1/workers",
    summary="Show the fleet",
    responses={200: {"model": schemas.Fleet}, **problems()},
)
async def list_workers(relay: RequestRelay) -> Response:
    """List the attached workers, on one page, and your organisation's queue.

    One whose stream ends is gone at once, one that falls silent after a minute.
    """
    answer = await relay.call(relay.mesh.fleet.ListWorkers, ListWorkersRequest())
    return Json(
        {
            "items": [worker_json(worker) for worker in answer.workers],
            "next_cursor": None,
            "queue": queue_json(answer.queue),
            "lease_seconds": answer.lease_ttl.ToTimedelta().total_seconds(),
        }
    )
