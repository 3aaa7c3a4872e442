"""The client as a whole."""

from __future__ import annotations

from typing import Self

from crewmesh.client import protocol
from crewmesh.client._async.crews import (
    AsyncCrewsResource,
    AsyncDatasetsResource,
    AsyncSessionsResource,
    AsyncToolsResource,
)
from crewmesh.client._async.organisation import (
    AsyncAuditResource,
    AsyncBudgetsResource,
    AsyncLimitsResource,
    AsyncMeshResource,
    AsyncPolicyResource,
    AsyncSecretsResource,
)
from crewmesh.client._async.people import (
    AsyncAccountResource,
    AsyncApiKeysResource,
    AsyncUsersResource,
)
from crewmesh.client._async.runs import AsyncArtifactsResource, AsyncRunsResource
from crewmesh.client._async.transport import AsyncTransport


class AsyncClient:
    """A mesh, called over REST; close it, or use it in a `with` block.

    `url` and `api_key` (an access token does, too) are by default CREWMESH_URL and
    CREWMESH_API_KEY. Failures are a MeshError: ApiError when the mesh said no, and
    UnreachableError when it didn't answer. Calls that may be repeated without harm are, a few
    times, while the mesh is busy or restarting; the pauses begin with `backoff_seconds`. A
    run's stream is taken up again for `patience_seconds` without a new event.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        patience_seconds: float = 60.0,
        backoff_seconds: float = 0.25,
        user_agent: str = "crewmesh-python",
    ) -> None:
        options = protocol.options_of(
            url,
            api_key,
            patience=patience_seconds,
            backoff=backoff_seconds,
            user_agent=user_agent,
        )
        self.url = options.url
        self._transport = transport = AsyncTransport(options)
        self.runs = AsyncRunsResource(transport)
        self.artifacts = AsyncArtifactsResource(transport)
        self.crews = AsyncCrewsResource(transport)
        self.tools = AsyncToolsResource(transport)
        self.datasets = AsyncDatasetsResource(transport)
        self.sessions = AsyncSessionsResource(transport)
        self.account = AsyncAccountResource(transport)
        self.api_keys = AsyncApiKeysResource(transport)
        self.users = AsyncUsersResource(transport)
        self.limits = AsyncLimitsResource(transport)
        self.budgets = AsyncBudgetsResource(transport)
        self.policy = AsyncPolicyResource(transport)
        self.secrets = AsyncSecretsResource(transport)
        self.audit = AsyncAuditResource(transport)
        self.mesh = AsyncMeshResource(transport)

    @property
    def clock_offset_seconds(self) -> float:
        """By how much the mesh's clock is ahead of ours; 0 while it can't be told from delay."""
        return self._transport.clock_offset

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
