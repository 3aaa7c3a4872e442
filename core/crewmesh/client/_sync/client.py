# Made from the file of the same name in _async by core/make_sync_client.py.
"""The client as a whole."""

from __future__ import annotations

from typing import Self

from crewmesh.client import protocol
from crewmesh.client._sync.crews import (
    CrewsResource,
    DatasetsResource,
    SessionsResource,
    ToolsResource,
)
from crewmesh.client._sync.organisation import (
    AuditResource,
    BudgetsResource,
    LimitsResource,
    MeshResource,
    PolicyResource,
    SecretsResource,
)
from crewmesh.client._sync.people import (
    AccountResource,
    ApiKeysResource,
    UsersResource,
)
from crewmesh.client._sync.runs import ArtifactsResource, RunsResource
from crewmesh.client._sync.transport import Transport


class Client:
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
        self._transport = transport = Transport(options)
        self.runs = RunsResource(transport)
        self.artifacts = ArtifactsResource(transport)
        self.crews = CrewsResource(transport)
        self.tools = ToolsResource(transport)
        self.datasets = DatasetsResource(transport)
        self.sessions = SessionsResource(transport)
        self.account = AccountResource(transport)
        self.api_keys = ApiKeysResource(transport)
        self.users = UsersResource(transport)
        self.limits = LimitsResource(transport)
        self.budgets = BudgetsResource(transport)
        self.policy = PolicyResource(transport)
        self.secrets = SecretsResource(transport)
        self.audit = AuditResource(transport)
        self.mesh = MeshResource(transport)

    @property
    def clock_offset_seconds(self) -> float:
        """By how much the mesh's clock is ahead of ours; 0 while it can't be told from delay."""
        return self._transport.clock_offset

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
