"""The gateway as an ASGI application."""

from __future__ import annotations

from importlib.metadata import version

from fastapi_offline import FastAPIOffline
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from crewmesh_gateway.authentication import AuthenticationMiddleware
from crewmesh_gateway.browser.files import Console
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.graphql.router import create_graphql
from crewmesh_gateway.middleware import RequestMiddleware
from crewmesh_gateway.openapi import DESCRIPTION, TAGS, describe
from crewmesh_gateway.problems import add_problem_handlers
from crewmesh_gateway.responses import Json
from crewmesh_gateway.routes import (
    account,
    artifacts,
    audit,
    auth,
    browser_sessions,
    budgets,
    crews,
    datasets,
    events,
    health,
    limits,
    oidc,
    policy,
    runs,
    secrets,
    sessions,
    users,
    workers,
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
        *(limits, budgets, policy, secrets, auth, browser_sessions, oidc),
        *(account, users, audit, workers, health),
    )
    for resource in resources:
        app.include_router(resource.router)
    app.include_router(create_graphql(gateway.graphql), include_in_schema=False)
    console = Console.read()
    if console is not None:
        console.add_to(app)
    app.state.console = console
    app.add_api_route("/", index, include_in_schema=False)
    describe(app)
    return RequestMiddleware(AuthenticationMiddleware(app, gateway), gateway.metrics)


async def index(request: Request) -> Response:
    """Show the console to people; say to programs what this is and where to read on."""
    console: Console | None = request.app.state.console
    if console is not None and "text/html" in request.headers.get("accept", ""):
        return await console.answer_page(request)
    return Json(
        {"service": "crewmesh", "version": _VERSION, "docs": "/docs", "openapi": "/openapi.json"},
        headers={"Vary": "Accept"},
    )
