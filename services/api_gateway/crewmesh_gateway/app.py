"""The gateway as an ASGI application."""

from __future__ import annotations

from importlib.metadata import version

from fastapi_offline import FastAPIOffline
from starlette.responses import Response
from starlette.types import ASGIApp

from crewmesh_gateway.authentication import AuthenticationMiddleware
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.middleware import RequestMiddleware
from crewmesh_gateway.openapi import DESCRIPTION, TAGS, describe
from crewmesh_gateway.problems import add_problem_handlers
from crewmesh_gateway.responses import Json
from crewmesh_gateway.routes import (
    account,
    artifacts,
    audit,
    auth,
    budgets,
    crews,
    datasets,
    events,
    health,
    limits,
    policy,
    runs,
    secrets,
    sessions,
    users,
)

_VERSION = version("crewmesh-gateway")


def create_app(gateway: Gateway) -> ASGIApp:
    """Return the application that serves REST and SSE from this gateway."""
    app = FastAPIOffline(
        title="Crewmesh",
        version=_VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        redoc_url=None,
        redirect_slashes=False,
        # Else the page would have the schema checked by a server on the internet.
        swagger_ui_parameters={"validatorUrl": None},
    )
    app.state.gateway = gateway
    add_problem_handlers(app)
    resources = (
        *(runs, events, sessions, artifacts, crews, datasets),
        *(limits, budgets, policy, secrets, auth, account, users, audit, health),
    )
    for resource in resources:
        app.include_router(resource.router)
    app.add_api_route("/", index, include_in_schema=False)
    describe(app)
    return RequestMiddleware(
        AuthenticationMiddleware(app, gateway.authenticator, gateway.mesh), gateway.metrics
    )


async def index() -> Response:
    """Say what this is and where to read on."""
    return Json(
        {"service": "crewmesh", "version": _VERSION, "docs": "/docs", "openapi": "/openapi.json"}
    )
