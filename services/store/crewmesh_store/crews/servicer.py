"""crewmesh.v1.CrewStoreService."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh.common.grpc_server import caller
from crewmesh.v1 import crew_store_pb2, crew_store_pb2_grpc
from crewmesh_store.crews.messages import parse_version
from crewmesh_store.crews.repository import CrewRepository, no_version
from crewmesh_store.messages import bad_cursor, page_bounds

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_MAX_DEFINITION_BYTES: Final = 2 * 1024 * 1024


class CrewStoreServicer(crew_store_pb2_grpc.CrewStoreServiceServicer):
    """Crews' definitions, over gRPC."""

    def __init__(self, crews: CrewRepository) -> None:
        self._crews = crews

    async def PutStoredCrew(
        self, request: crew_store_pb2.PutStoredCrewRequest, context: Any
    ) -> crew_store_pb2.PutStoredCrewResponse:
        _check_crew(request.name, request.definition_json)
        return await self._crews.put(request, caller())

    async def GetStoredCrew(
        self, request: crew_store_pb2.GetStoredCrewRequest, context: Any
    ) -> crew_store_pb2.GetStoredCrewResponse:
        crew = await self._crews.get(request, caller().require_org())
        return crew_store_pb2.GetStoredCrewResponse(crew=crew)

    async def ListStoredCrews(
        self, request: crew_store_pb2.ListStoredCrewsRequest, context: Any
    ) -> crew_store_pb2.ListStoredCrewsResponse:
        limit, _ = page_bounds(request.page_size, "")
        org_id = caller().require_org()
        crews = await self._crews.list_page(org_id, request.after_name, limit)
        # A page that is short for its size may not be the last: look one further.
        after = crews[-1].name if crews else request.after_name
        more = bool(crews) and bool(await self._crews.list_page(org_id, after, 1))
        return crew_store_pb2.ListStoredCrewsResponse(crews=crews, more=more)

    async def ListStoredVersions(
        self, request: crew_store_pb2.ListStoredVersionsRequest, context: Any
    ) -> crew_store_pb2.ListStoredVersionsResponse:
        org_id = caller().require_org()
        if request.shared:
            limit, before_id = page_bounds(request.page_size, request.page_token)
            shared = await self._crews.list_shared_versions(request.name, before_id, limit + 1)
            return crew_store_pb2.ListStoredVersionsResponse(
                versions=[crew for _, crew in shared[:limit]],
                next_page_token=str(shared[limit - 1][0]) if len(shared) > limit else "",
            )
        limit, _ = page_bounds(request.page_size, "")
        before = parse_version(request.page_token)
        if request.page_token and before is None:
            raise bad_cursor()
        own = await self._crews.list_versions(org_id, request.name, before, limit + 1)
        if not own and before is None:
            raise no_version(request.name, "")
        return crew_store_pb2.ListStoredVersionsResponse(
            versions=own[:limit], next_page_token=own[limit - 1].version if len(own) > limit else ""
        )

    async def SetCurrentVersion(
        self, request: crew_store_pb2.SetCurrentVersionRequest, context: Any
    ) -> crew_store_pb2.SetCurrentVersionResponse:
        crew = await self._crews.set_current(request.name, request.version, caller())
        return crew_store_pb2.SetCurrentVersionResponse(crew=crew)

    async def DeleteStoredCrew(
        self, request: crew_store_pb2.DeleteStoredCrewRequest, context: Any
    ) -> crew_store_pb2.DeleteStoredCrewResponse:
        await self._crews.delete(request.name, caller())
        return crew_store_pb2.DeleteStoredCrewResponse()

    async def PublishCrews(
        self, request: crew_store_pb2.PublishCrewsRequest, context: Any
    ) -> crew_store_pb2.PublishCrewsResponse:
        for crew in request.crews:
            _check_crew(crew.name, crew.definition_json)
            if not crew.version or parse_version(crew.version) is not None:
                raise InvalidInputError(
                    "a shared version is named by its content",
                    violations=[Violation("version", f"{crew.version!r} is none")],
                )
        return await self._crews.publish(request.crews)


def _check_crew(name: str, definition_json: str) -> None:
    violations = []
    if not _NAME.fullmatch(name):
        violations.append(
            Violation("name", "lower-case letters, digits, - and _, at most 63, a letter first")
        )
    if len(definition_json.encode()) > _MAX_DEFINITION_BYTES:
        violations.append(Violation("definition_json", "at most 2 MiB"))
    elif not _is_object(definition_json):
        violations.append(Violation("definition_json", "a JSON object"))
    if violations:
        raise InvalidInputError("the crew can't be kept", violations=violations)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
