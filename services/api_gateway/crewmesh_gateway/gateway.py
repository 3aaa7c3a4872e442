"""What all requests of one gateway share."""

from __future__ import annotations

import asyncio

from crewmesh.common.authentication import Authenticator
from crewmesh_gateway.mesh import SERVICE, Mesh, error_of
from crewmesh_gateway.metrics import Metrics


class Gateway:
    """The mesh, who may use it, limits on what comes in, and what is counted."""

    def __init__(self, mesh: Mesh, *, max_body_bytes: int, max_upload_bytes: int) -> None:
        self.mesh = mesh
        self.authenticator = Authenticator(mesh.identities, SERVICE, error_of)
        self.metrics = Metrics()
        self.max_body_bytes = max_body_bytes
        self.max_upload_bytes = max_upload_bytes
        # Set when the process is about to stop: long answers end early then.
        self.draining = asyncio.Event()
