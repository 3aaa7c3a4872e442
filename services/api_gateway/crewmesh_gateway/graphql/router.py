"""`/graphql`: queries and mutations by POST, subscriptions by graphql-transport-ws."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import HTTPConnection, Request
from strawberry.exceptions import ConnectionRejectionError
from strawberry.fastapi import GraphQLRouter
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from crewmesh.common.errors import CrewmeshError
from crewmesh_gateway.authentication import GRAPHQL_PATH
from crewmesh_gateway.bodies import read_body
from crewmesh_gateway.graphql.context import Context
from crewmesh_gateway.graphql.schema import create_schema
from crewmesh_gateway.graphql.settings import GraphqlLimits
from crewmesh_gateway.problems import told

_MAX_SUBSCRIPTIONS = 100
_INIT_SECONDS = 10


class _Router(GraphQLRouter[Any, None]):
    """Lets web sockets in by who they say they are."""

    async def on_ws_connect(self, context: Any) -> Any:
        own: Context = context
        try:
            await own.mesh.admit(own.connection_params)
        except CrewmeshError as error:
            status, message = told(error)
            raise ConnectionRejectionError(
                {"code": error.reason.lower(), "status": status, "message": message}
            ) from None
        return await super().on_ws_connect(context)


async def _context(connection: HTTPConnection) -> Context:
    if isinstance(connection, Request):
        # Read within our bounds, where Strawberry finds it.
        limit = connection.app.state.gateway.max_body_bytes
        connection._body = await read_body(connection, limit)
    return Context(connection)


def create_graphql(limits: GraphqlLimits) -> GraphQLRouter[Any, None]:
    """Return the routes of GraphQL. Nothing is done by GET, which any page may have a browser send."""
    return _Router(
        create_schema(limits),
        path=GRAPHQL_PATH,
        graphql_ide=None,
        allow_queries_via_get=False,
        context_getter=_context,
        subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
        connection_init_wait_timeout=timedelta(seconds=_INIT_SECONDS),
        max_subscriptions_per_connection=_MAX_SUBSCRIPTIONS,
    )
