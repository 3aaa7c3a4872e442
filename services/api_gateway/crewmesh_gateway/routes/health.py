"""Is it alive, is it ready, how is it doing."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.responses import Json
from crewmesh_gateway.schemas import Readiness

router = APIRouter(tags=["service"])


@router.get("/healthz", summary="Is the gateway alive?")
async def healthz() -> Response:
    """Answer as long as the process can."""
    return Json({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can requests be served?",
    responses={
        200: {"model": Readiness},
        503: {"description": "A dependency doesn't serve, or the gateway stops"},
    },
)
async def readyz(request: Request) -> Response:
    """Ask each dependency, for two seconds at most."""
    gateway: Gateway = request.app.state.gateway
    health = await gateway.mesh.health()
    ready = all(health.values()) and not gateway.draining.is_set()
    dependencies = {name: "serving" if serves else "not_serving" for name, serves in health.items()}
    return Json({"ready": ready, "dependencies": dependencies}, 200 if ready else 503)


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    responses={
        200: {"content": {"text/plain": {}}},
        404: {"description": "The gateway has a port of its own for them"},
    },
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """Return requests, durations and open event streams in Prometheus' text format.

    Where `CREWMESH_METRICS_ADDRESS` is set, they are there and not here.
    """
    gateway: Gateway = request.app.state.gateway
    if not gateway.publishes_metrics:
        raise HTTPException(404)
    return Response(
        generate_latest(gateway.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )
