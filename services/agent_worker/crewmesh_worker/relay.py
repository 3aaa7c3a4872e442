"""Calls that a worker passes on to the store."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import grpc

from crewmesh.common.grpc_server import caller, request_metadata, rpc_errors
from crewmesh.common.identity import IdentitySigner

Request = TypeVar("Request")
Response = TypeVar("Response")

# For callers that set no deadline of their own.
DEFAULT_SECONDS: Final = 10.0


class StoreRelay:
    """Asks the store on behalf of the caller whose call is being served."""

    def __init__(self, signer: IdentitySigner) -> None:
        self._signer = signer

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        context: Any,
        wait_seconds: float = 0.0,
    ) -> Response:
        """Ask the store the same, on behalf of the same caller, within the same deadline."""
        limit = DEFAULT_SECONDS + wait_seconds
        remaining = context.time_remaining()
        with rpc_errors():
            return await method(
                request,
                metadata=(*self._signer.metadata(caller()), *request_metadata()),
                timeout=limit if remaining is None else min(remaining, limit),
            )
