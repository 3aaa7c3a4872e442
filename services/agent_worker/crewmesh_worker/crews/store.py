"""The store's crews, as a worker reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

import grpc

from crewmesh.common.errors import NotFoundError
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import crew_store_pb2, crew_store_pb2_grpc
from crewmesh_worker.crews.cache import DefinitionCache
from crewmesh_worker.crews.definition import CrewDefinition, from_json

_CALL_SECONDS: Final = 10.0

Request = TypeVar("Request")
Response = TypeVar("Response")


class CrewStore:
    """Calls the store on behalf of a caller; keeps the definitions that it read lately."""

    def __init__(
        self, stub: crew_store_pb2_grpc.CrewStoreServiceAsyncStub, signer: IdentitySigner
    ) -> None:
        self.stub = stub
        self._signer = signer
        self._cache = DefinitionCache()

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        identity: Identity | None = None,
    ) -> Response:
        """Return the store's answer; raise what it raised."""
        with rpc_errors():
            answer: Awaitable[Response] = method(
                request, metadata=self._signer.metadata(identity), timeout=_CALL_SECONDS
            )
            return await answer

    async def get(
        self, request: crew_store_pb2.GetStoredCrewRequest, identity: Identity
    ) -> tuple[crew_store_pb2.StoredCrew, CrewDefinition] | None:
        """Return a version and its definition; None where there is none.

        Raises InvalidInputError for a definition that this worker can't read.
        """
        owner = identity.org_id
        # The version that the answer may leave out, held on to meanwhile.
        known = self._cache.get((owner, request.name, request.known_version))
        if known is None:
            request.known_version = ""
        try:
            crew = (await self.call(self.stub.GetStoredCrew, request, identity)).crew
        except NotFoundError:
            return None
        if not crew.definition_json and known is not None:
            return crew, known
        return crew, await self.read(crew, owner)

    def known(self, owner: str, name: str, version: str) -> CrewDefinition | None:
        """Return a definition that was read lately."""
        return self._cache.get((owner, name, version))

    async def read(self, crew: crew_store_pb2.StoredCrew, owner: str) -> CrewDefinition:
        """Return the definition of a stored crew; raise InvalidInputError if it can't be read."""
        key = (owner, crew.name, crew.version)
        definition = self._cache.get(key)
        if definition is None:
            definition = await asyncio.to_thread(from_json, crew.definition_json)
            self._cache.put(key, definition, len(crew.definition_json))
        return definition
