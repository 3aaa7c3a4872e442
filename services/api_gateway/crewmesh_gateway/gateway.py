"""What all requests of one gateway share."""

from __future__ import annotations

import asyncio
from functools import partial

from crewmesh.common.authentication import Authenticator
from crewmesh.common.request_limits import RequestLimiter
from crewmesh_gateway.browser.cookies import SessionCookies
from crewmesh_gateway.browser.sealing import Sealer
from crewmesh_gateway.graphql.settings import GraphqlLimits
from crewmesh_gateway.mesh import SERVICE, Mesh, error_of
from crewmesh_gateway.metrics import Metrics
from crewmesh_gateway.oidc.provider import OidcProvider


class Gateway:
    """The mesh, who may use it, limits on what comes in, and what is counted."""

    def __init__(
        self,
        mesh: Mesh,
        *,
        mesh_secret: str,
        max_body_bytes: int,
        max_upload_bytes: int,
        requests_per_minute: int = 0,
        address_requests_per_minute: int = 0,
        oidc: OidcProvider | None = None,
        graphql: GraphqlLimits | None = None,
        publishes_metrics: bool = True,
    ) -> None:
        self.mesh = mesh
        self.authenticator = Authenticator(mesh.identities, SERVICE, error_of)
        self.limiter = RequestLimiter(
            mesh.limits,
            partial(mesh.metadata, "request-limits"),
            of_caller=requests_per_minute,
            of_address=address_requests_per_minute,
        )
        self.cookies = SessionCookies(mesh_secret)
        # By whom people may sign in, and sign-ins that have begun there.
        self.oidc = oidc
        self.pending_sign_ins = Sealer(mesh_secret, b"crewmesh pending sign-in")
        self.metrics = Metrics()
        # At the public port; else only Prometheus reaches them, at a port of their own.
        self.publishes_metrics = publishes_metrics
        self.max_body_bytes = max_body_bytes
        self.max_upload_bytes = max_upload_bytes
        self.graphql = graphql or GraphqlLimits()
        # Set when the process is about to stop: long answers end early then.
        self.draining = asyncio.Event()
