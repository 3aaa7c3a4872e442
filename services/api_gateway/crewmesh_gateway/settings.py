"""The gateway's settings; see docs/reference/settings.md."""

from __future__ import annotations

from pydantic import Field

from crewmesh.common.settings import Settings


class GatewaySettings(Settings):
    """Read from `CREWMESH_...` environment variables."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65_535, description="port to listen on; 0 picks a free one")
    worker_target: str = Field(
        min_length=1, description="gRPC name of the agent workers, such as dns:///agent-worker:8081"
    )
    store_target: str = Field(
        min_length=1, description="gRPC name of the store, such as dns:///store:8082"
    )
    mesh_secret: str = Field(min_length=32, description="signs identities inside the mesh")
    max_body_kb: int = Field(1024, ge=1, le=8192, description="longest JSON body, in KiB")
    max_upload_mb: int = Field(256, ge=1, description="largest dataset, in MiB")
    drain_seconds: int = Field(10, ge=0, description="how long a stop lets requests finish")
