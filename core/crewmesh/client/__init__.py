"""A mesh from Python: `Client`, and `AsyncClient` for asyncio, with the same calls.

    with Client("http://127.0.0.1:8080", "cm_...") as mesh:
        run = mesh.runs.start("hello", {"name": "Ana"})
        for event in mesh.runs.events(run.id):
            print(event.seq, event.type)
        print(mesh.runs.get(run.id).output)

What calls return is in `crewmesh.client.models`, what they raise in `crewmesh.client.errors`.
It needs the extra: `pip install 'crewmesh[client]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crewmesh.client.errors import (
    ApiError,
    AuthenticationError,
    ConflictError,
    InvalidInputError,
    MeshError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    StreamLostError,
    TooManyRequestsError,
    UnavailableError,
    UnknownAnswerError,
    UnreachableError,
)

if TYPE_CHECKING:
    from crewmesh.client._async.client import AsyncClient
    from crewmesh.client._sync.client import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "AuthenticationError",
    "Client",
    "ConflictError",
    "InvalidInputError",
    "MeshError",
    "NotFoundError",
    "PermissionDeniedError",
    "ServerError",
    "StreamLostError",
    "TooManyRequestsError",
    "UnavailableError",
    "UnknownAnswerError",
    "UnreachableError",
]


def __getattr__(name: str) -> Any:
    # With the HTTP library, which who only catches errors does without.
    if name == "AsyncClient":
        from crewmesh.client._async.client import AsyncClient

        return AsyncClient
    if name == "Client":
        from crewmesh.client._sync.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
