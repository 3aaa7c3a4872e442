"""A port of its own for KEDA, which has no identity in the mesh."""

from __future__ import annotations

import grpc

from crewmesh.common.grpc_server import add_port
from crewmesh.common.mesh_tls import TlsDirectory
from crewmesh_store.database import Database
from crewmesh_store.scaling.demand import read_demand
from crewmesh_store.scaling.servicer import ScalerServicer
from crewmesh_store.settings import StoreSettings
from externalscaler import externalscaler_pb2_grpc

_STOP_GRACE_SECONDS = 1.0


class ScalerServer:
    """Serves the scaler alone, so that a network policy can let KEDA reach nothing else."""

    def __init__(
        self, servicer: ScalerServicer, address: str, tls: TlsDirectory | None = None
    ) -> None:
        """KEDA shows a token, so it needs no certificate of its own."""
        self._tls = tls
        self._address = address
        self._server = grpc.aio.server()
        externalscaler_pb2_grpc.add_ExternalScalerServicer_to_server(servicer, self._server)
        self.port = 0

    async def start(self) -> None:
        """Listen; `port` is where."""
        self.port = add_port(self._server, self._address, self._tls, ask_clients=False)
        await self._server.start()

    async def stop(self) -> None:
        """End the streams; KEDA asks another replica."""
        await self._server.stop(_STOP_GRACE_SECONDS)


def make_scaler_server(settings: StoreSettings, database: Database) -> ScalerServer | None:
    """Return the server, not started; None without a token, which nobody could show."""
    if not settings.scaler_token:
        return None
    servicer = ScalerServicer(settings.scaler_token, lambda: read_demand(database))
    return ScalerServer(servicer, settings.scaler_address, settings.tls())
