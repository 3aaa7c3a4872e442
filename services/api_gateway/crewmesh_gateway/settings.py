"""The gateway's settings; see docs/reference/settings.md."""

from __future__ import annotations

from pydantic import Field

from crewmesh.common.settings import MeshSettings


class GatewaySettings(MeshSettings):
    """Read from `CREWMESH_...` environment variables."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65_535, description="port to listen on; 0 picks a free one")
    worker_target: str = Field(
        min_length=1, description="gRPC name of the agent workers, such as dns:///agent-worker:8081"
    )
    store_target: str = Field(
        min_length=1, description="gRPC name of the store, such as dns:///store:8082"
    )
    max_body_kb: int = Field(1024, ge=1, le=8192, description="longest JSON body, in KiB")
    max_upload_mb: int = Field(256, ge=1, description="largest dataset, in MiB")
    drain_seconds: int = Field(10, ge=0, description="how long a stop lets requests finish")

    def mesh_addresses(self) -> dict[str, str]:
        """Return whom this service calls, by the setting that says so."""
        return {"worker_target": self.worker_target, "store_target": self.store_target}
