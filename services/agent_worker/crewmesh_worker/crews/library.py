"""Every crew that somebody can run: found, listed, brought, changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from crewmesh.common.errors import (
    ConflictError,
    DeadlineError,
    InvalidInputError,
    NotFoundError,
    StateError,
    UnavailableError,
    Violation,
)
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, crew_store_pb2
from crewmesh_worker.crews.definition import to_json
from crewmesh_worker.crews.diff import diff_versions
from crewmesh_worker.crews.formats import read_definition
from crewmesh_worker.crews.messages import crew_message
from crewmesh_worker.crews.shared import SharedCrews
from crewmesh_worker.crews.sources import CrewSource, CrewVersion
from crewmesh_worker.crews.uploaded import UploadedCrews

log = structlog.get_logger(__name__)

_PUBLISH_SECONDS = 1.0
_DEFAULT_PAGE, _MAX_PAGE = 50, 200


class CrewLibrary:
    """Asks each source in turn: a name means the first that has it.

    What comes with workers is first, and of that `others` are, so its names are nobody's. Only
    an organisation that had a crew of such a name before keeps it: for them, theirs is first.
    """

    def __init__(
        self, shared: SharedCrews, uploaded: UploadedCrews, others: Sequence[CrewSource] = ()
    ) -> None:
        self._shared = shared
        self._uploaded = uploaded
        self._others = list(others)
        # Who had crews with names of the shared ones before: organisations and names.
        self._owners: frozenset[tuple[str, str]] = frozenset()

    async def publish(self) -> None:
        """Have the store keep what comes with this worker; wait for a store that is away."""
        while True:
            try:
                self._owners = await self._shared.publish()
                break
            except (UnavailableError, DeadlineError) as error:
                log.warning("can't publish crews yet", reason=error.message)
                await asyncio.sleep(_PUBLISH_SECONDS)
        for org_id, name in sorted(self._owners):
            log.warning("an organisation's own crew hides one of ours", org_id=org_id, crew=name)

    async def get(self, name: str, version: str, identity: Identity) -> CrewVersion:
        """Return a version of a crew, the current one for ""; raise NotFoundError if there is none."""
        for source in self._sources(name, identity):
            if (found := await source.find(name, version, identity)) is not None:
                return found
        if version:
            await self.get(name, "", identity)
            raise NotFoundError(
                f"the crew {name[:64]!r} has no version {version[:80]!r}",
                reason="CREW_VERSION_NOT_FOUND",
            )
        page = await self.list_page(_MAX_PAGE, "", identity)
        known = ", ".join(crew.name for crew in page.crews)
        raise NotFoundError(
            f"there is no crew {name[:64]!r}; there are: {known}", reason="CREW_NOT_FOUND"
        )

    async def get_pinned(self, name: str, version: str, identity: Identity) -> CrewVersion:
        """Return the version that an accepted run is pinned to.

        Raises StateError (CREW_VERSION_UNAVAILABLE) when it isn't to be had or can't be read
        here, UnavailableError when the store is away.
        """
        try:
            for source in self._sources(name, identity):
                if (found := await source.find(name, version, identity, pinned=True)) is not None:
                    return found
        except InvalidInputError as error:
            faults = "; ".join(f"{fault.field}: {fault.message}" for fault in error.violations[:3])
            raise StateError(
                f"this worker can't run version {version} of the crew {name!r}: {faults}",
                reason="CREW_VERSION_UNAVAILABLE",
            ) from error
        raise StateError(
            f"version {version} of the crew {name!r} isn't in the store any more",
            reason="CREW_VERSION_UNAVAILABLE",
        )

    async def list_page(
        self, size: int, token: str, identity: Identity
    ) -> agent_pb2.ListCrewsResponse:
        """Return the crews by name, after the name that `token` is."""
        if size > _MAX_PAGE:
            raise InvalidInputError(
                f"a page holds 1 to {_MAX_PAGE} items",
                violations=[Violation("page_size", f"1 to {_MAX_PAGE}")],
            )
        size = size or _DEFAULT_PAGE
        sources: list[CrewSource] = [self._uploaded, *self._others, self._shared]
        pages = {source: await source.page(token, size, identity) for source in sources}
        # After the last name of a page that has more, another source's names can't be told yet.
        ends = [page.crews[-1].name for page in pages.values() if page.more and page.crews]
        crews = {source: {crew.name: crew for crew in page.crews} for source, page in pages.items()}
        names = sorted({name for found in crews.values() for name in found})
        names = [name for name in names if not ends or name <= min(ends)]
        more = bool(ends) or len(names) > size
        return agent_pb2.ListCrewsResponse(
            crews=[
                next(crews[s][name] for s in self._sources(name, identity) if name in crews[s])
                for name in names[:size]
            ],
            next_page_token=names[:size][-1] if more and names else "",
        )

    async def list_versions(
        self, name: str, size: int, token: str, identity: Identity
    ) -> crew_store_pb2.ListStoredVersionsResponse:
        """Return a page of a crew's versions, newest first; raise NotFoundError if it isn't."""
        for source in self._sources(name, identity):
            if (page := await source.versions(name, size, token, identity)) is not None:
                return page
        raise NotFoundError(f"there is no crew {name[:64]!r}", reason="CREW_NOT_FOUND")

    async def put(
        self,
        name: str,
        content: bytes,
        format_: agent_pb2.CrewFormat.ValueType,
        identity: Identity,
    ) -> agent_pb2.PutCrewResponse:
        """Take a definition as the crew's next version.

        Raises InvalidInputError with every fault and its place, ConflictError for a name that
        comes with the workers.
        """
        if await self._is_taken(name, identity):
            raise ConflictError(
                f"the crew {name!r} comes with the workers: put yours under another name",
                reason="CREW_NOT_YOURS",
            )
        definition = await asyncio.to_thread(read_definition, content, format_, name)
        put = await self._uploaded.put(name, to_json(definition), identity)
        crew = CrewVersion(
            definition,
            put.crew.version,
            put.crew.source,
            put.crew.created_at,
            put.crew.current_version,
        )
        return agent_pb2.PutCrewResponse(
            crew=crew_message(crew, whole=True), created=put.created, changed=put.changed
        )

    async def delete(self, name: str, identity: Identity) -> None:
        """Delete an organisation's own crew."""
        await self._refuse_taken(name, identity)
        await self._uploaded.delete(name, identity)

    async def roll_back(self, name: str, version: str, identity: Identity) -> CrewVersion:
        """Make a version of an organisation's own crew current."""
        await self._refuse_taken(name, identity)
        return await self._uploaded.set_current(name, version, identity)

    async def diff(
        self, name: str, from_version: str, to_version: str, identity: Identity
    ) -> agent_pb2.DiffCrewResponse:
        """Return what changed from one version to another; by default by the current one."""
        second = await self.get(name, to_version, identity)
        before = from_version or await self._version_before(name, second.version, identity)
        first = await self.get(name, before, identity)
        return agent_pb2.DiffCrewResponse(
            from_version=first.version,
            to_version=second.version,
            diff=await asyncio.to_thread(diff_versions, first, second),
        )

    async def _version_before(self, name: str, version: str, identity: Identity) -> str:
        token, passed = "", False
        while True:
            page = await self.list_versions(name, _MAX_PAGE, token, identity)
            for crew in page.versions:
                if passed:
                    return crew.version
                passed = crew.version == version
            token = page.next_page_token
            if not token:
                break
        raise InvalidInputError(
            f"{name!r} has no version before {version}: name both",
            violations=[Violation("from", "a version; see the crew's versions")],
        )

    def _sources(self, name: str, identity: Identity) -> list[CrewSource]:
        of_workers: list[CrewSource] = [*self._others, self._shared]
        # The store tells who owns a shared name, and nobody who owns another source's.
        theirs = (identity.org_id, name) in self._owners or any(name in s for s in self._others)
        return [self._uploaded, *of_workers] if theirs else [*of_workers, self._uploaded]

    async def _is_taken(self, name: str, identity: Identity) -> bool:
        """Tell whether the name comes with the workers, and isn't the organisation's own."""
        if any(name in source for source in self._others):
            return await self._uploaded.versions(name, 1, "", identity) is None
        return name in self._shared and (identity.org_id, name) not in self._owners

    async def _refuse_taken(self, name: str, identity: Identity) -> None:
        if await self._is_taken(name, identity):
            raise StateError(
                f"the crew {name!r} comes with the workers and can't be changed",
                reason="CREW_NOT_YOURS",
            )
