"""What the resolvers of one request share: who asks, the mesh, and the loaders."""

from __future__ import annotations

import structlog
from starlette.requests import HTTPConnection
from strawberry.fastapi import BaseContext
from strawberry.types import Info

from crewmesh.common.authentication import Caller
from crewmesh.common.errors import UnauthenticatedError
from crewmesh.common.request_limits import require
from crewmesh_gateway.authentication import CALLER_KEY, bearer, credential_of
from crewmesh_gateway.graphql.loaders import Loaders
from crewmesh_gateway.relay import MeshCaller


class Connection(MeshCaller):
    """Calls the mesh on behalf of who is at the other end of a request or a web socket.

    Many calls are under way at once, and a socket outlives each of them. What the caller may do
    is decided by the rpcs, as for REST.
    """

    def __init__(self, connection: HTTPConnection) -> None:
        super().__init__(connection)
        self._caller: Caller | None = connection.scope.get(CALLER_KEY)
        self._connection = connection
        self._is_socket = connection.scope["type"] == "websocket"
        self._credential: str | None = None

    @property
    def caller(self) -> Caller:
        """Who asks; raises UnauthenticatedError where nobody has said."""
        if self._caller is None:
            raise UnauthenticatedError("say who you are first: connection_init with authorization")
        return self._caller

    async def admit(self, payload: object) -> None:
        """Let in who opened a web socket, by its handshake or by what it says first.

        A browser's cookie counts from our own pages only: any page may open a socket here.
        """
        said = payload.get("authorization") if isinstance(payload, dict) else None
        if isinstance(said, str):
            self._credential = bearer(said)
        await self.renew()

    async def renew(self) -> None:
        """Check the credential again, for what outlives a short request."""
        credential = self._credential or credential_of(
            "POST", self._connection.headers, self.gateway.cookies
        )
        self._caller = await self.gateway.authenticator.authenticate(
            credential, self.mesh.metadata(self.request_id)
        )
        # For the socket's log line.
        structlog.contextvars.bind_contextvars(org_id=self._caller.identity.org_id)

    async def take_request(self) -> None:
        """Count an operation of a web socket as the request that it is by POST, which was counted.

        Raises ExhaustedError for who asks too often.
        """
        if self._is_socket:
            require(await self.gateway.limiter.take_for(self.caller))


class Context(BaseContext):
    """One request's, or one web socket's."""

    def __init__(self, connection: HTTPConnection) -> None:
        super().__init__()
        self.mesh = Connection(connection)
        self.loaders = Loaders(self.mesh.call, self.mesh.mesh)


GraphInfo = Info[Context, None]
