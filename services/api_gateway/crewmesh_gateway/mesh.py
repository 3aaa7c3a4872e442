"""The mesh's services as the gateway reaches them."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crewmesh.common.errors import CrewmeshError, error_from_rpc
from crewmesh.common.grpc_client import (
    agent_stub,
    audit_stub,
    budget_stub,
    file_stub,
    identity_stub,
    limit_stub,
    open_channel,
    run_store_stub,
    session_stub,
    tenant_stub,
)
from crewmesh.common.grpc_server import REQUEST_ID_METADATA_KEY
from crewmesh.common.identity import INVALID_IDENTITY, Identity, IdentitySigner
from crewmesh.common.mesh_tls import STORE, WORKER, TlsDirectory

SERVICE: Final = "api_gateway"
_HEALTH_SECONDS = 2.0

Metadata = tuple[tuple[str, str], ...]


class Mesh:
    """Channels to the agent workers and to the store, and what is called over them.

    Targets are gRPC names, such as `dns:///store:8082`; calls are balanced over all
    of a name's addresses.
    """

    def __init__(
        self,
        worker_target: str,
        store_target: str,
        secret: str,
        tls: TlsDirectory | None = None,
    ) -> None:
        self._signer = IdentitySigner(secret, SERVICE)
        self._channels = {
            "agent_worker": open_channel(worker_target, tls, WORKER),
            "store": open_channel(store_target, tls, STORE),
        }
        workers, store = self._channels["agent_worker"], self._channels["store"]
        self.agents = agent_stub(workers)
        self.sessions = session_stub(workers)
        self.fleet = run_store_stub(store)
        self.identities = identity_stub(store)
        self.limits = limit_stub(store)
        self.files = file_stub(store)
        self.budgets = budget_stub(store)
        self.audit = audit_stub(store)
        self.tenants = tenant_stub(store)

    def metadata(self, request_id: str, identity: Identity | None = None) -> Metadata:
        """Return what a call carries: who asks (the gateway itself by default) and why."""
        return (*self._signer.metadata(identity), (REQUEST_ID_METADATA_KEY, request_id))

    async def health(self) -> dict[str, bool]:
        """Return for each dependency, by its name, whether it serves now."""
        names = list(self._channels)
        serving = await asyncio.gather(*(_serves(self._channels[name]) for name in names))
        return dict(zip(names, serving, strict=True))

    async def close(self) -> None:
        """Close the channels; calls under way end."""
        for channel in self._channels.values():
            await channel.close()


async def _serves(channel: grpc.aio.Channel) -> bool:
    check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
    try:
        answer = await check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def error_of(rpc_error: grpc.aio.AioRpcError) -> CrewmeshError:
    """Return a failed call's error as our client may see it."""
    error = error_from_rpc(rpc_error)
    if error.reason == INVALID_IDENTITY:
        # The client's own credentials were fine.
        return CrewmeshError(f"{error.message}: do all services have the same mesh secret?")
    return error
