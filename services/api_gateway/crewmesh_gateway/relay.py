"""The mesh as one request sees it."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final, TypeVar

import grpc
from fastapi import Security
from fastapi.security import HTTPBearer
from starlette.requests import ClientDisconnect, HTTPConnection, Request

from crewmesh.common.authentication import Caller
from crewmesh.common.errors import UnavailableError
from crewmesh.common.grpc_client import ending
from crewmesh_gateway.authentication import CALLER_KEY, credential_of
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.mesh import Mesh, Metadata, error_of
from crewmesh_gateway.problems import REQUEST_ID_KEY

CALL_SECONDS = 10.0
# Pauses before a call is repeated; together as long as it may take to find a replica that is
# back.
_REPETITION_PAUSES_SECONDS: Final = (0.1, 0.2, 0.4, 0.8)

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class MeshCaller(abc.ABC):
    """Calls the mesh on behalf of who is at the other end of a connection.

    Every call has a deadline and says who asks and for which request. Failures are raised as
    the error that the other side raised.
    """

    def __init__(self, connection: HTTPConnection) -> None:
        self.gateway: Gateway = connection.app.state.gateway
        self.mesh: Mesh = self.gateway.mesh
        self.request_id: str = connection.scope[REQUEST_ID_KEY]

    @property
    @abc.abstractmethod
    def caller(self) -> Caller:
        """Who asks."""

    @abc.abstractmethod
    async def renew(self) -> None:
        """Check the caller's credential again, for what outlives a short request.

        Raises UnauthenticatedError when it was revoked or has expired.
        """

    def metadata(self) -> Metadata:
        """Return the metadata of a call that is made now."""
        return self.mesh.metadata(self.request_id, self.caller.identity)

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Ask, Answer],
        ask: Ask,
        *,
        seconds: float = CALL_SECONDS,
        repeatable: bool = False,
    ) -> Answer:
        """Return the answer of a method, within `seconds`.

        What is `repeatable`, because it carries what makes a repetition harmless, is asked again
        when a worker falls.
        """
        for pause in _REPETITION_PAUSES_SECONDS if repeatable else ():
            try:
                return await self._call(method, ask, seconds)
            except UnavailableError:
                await asyncio.sleep(pause)
        return await self._call(method, ask, seconds)

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Ask, Answer], ask: Ask, seconds: float
    ) -> Answer:
        try:
            return await method(ask, timeout=seconds, metadata=self.metadata())
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from None

    def stream(
        self, method: grpc.aio.UnaryStreamMultiCallable[Ask, Answer], ask: Ask, *, seconds: float
    ) -> grpc.aio.UnaryStreamCall[Ask, Answer]:
        """Begin a method that answers with a stream of at most `seconds`."""
        return method(ask, timeout=seconds, metadata=self.metadata())


class Relay(MeshCaller):
    """Calls the mesh on behalf of a request's caller, until the client leaves."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._caller: Caller = request.scope[CALLER_KEY]
        self._request = request

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self._caller

    async def renew(self) -> None:
        """Check the caller's credential again."""
        self._caller = await self.gateway.authenticator.authenticate(
            credential_of(self._request.method, self._request.headers, self.gateway.cookies),
            self.mesh.metadata(self.request_id),
        )

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Ask, Answer], ask: Ask, seconds: float
    ) -> Answer:
        """As any caller's, but raises ClientDisconnect when the client left meanwhile."""
        call = method(ask, timeout=seconds, metadata=self.metadata())
        leaving = asyncio.create_task(self._client_leaves())
        leaving.add_done_callback(lambda _: call.cancel())
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from None
        except asyncio.CancelledError:
            if leaving.done():
                raise ClientDisconnect from None
            raise
        finally:
            leaving.cancel()

    async def _client_leaves(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass


async def messages(call: grpc.aio.UnaryStreamCall[Ask, Answer]) -> AsyncIterator[Answer]:
    """Yield a stream's messages; raise what its other side raised."""
    try:
        with ending(call):
            async for message in call:
                yield message
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from None


class _ApiKey(HTTPBearer):
    """Says in OpenAPI that a route needs an API key, which was checked before routing."""

    async def __call__(self, request: Request) -> Relay:  # type: ignore[override]
        return Relay(request)


RequestRelay = Annotated[
    Relay, Security(_ApiKey(scheme_name="ApiKey", description="`Authorization: Bearer <API key>`"))
]
