"""The store's settings; see docs/reference/settings.md."""

from __future__ import annotations

from pydantic import Field

from crewmesh.common.settings import MeshSettings
from crewmesh_store.files.objects import S3Options


class StoreSettings(MeshSettings):
    """Read from `CREWMESH_...` environment variables."""

    database_url: str = Field(
        description="postgresql://... of the database; libpq's parameters in it win over ours"
    )
    store_address: str = Field("127.0.0.1:8082", description="host:port to listen on")
    metrics_address: str = Field(
        "", description="host:port where Prometheus reads /metrics; empty: nothing listens there"
    )
    object_store_url: str = Field(description="file:///path or s3://bucket/prefix")
    s3_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^/?#]+/?)?$",
        description="an S3-compatible server's address; without it, Amazon's",
    )
    s3_region: str = Field("", description="the bucket's region; without it, AWS_REGION")
    s3_access_key: str = Field("", description="without it, what AWS's own variables or role say")
    s3_secret_key: str = Field("", description="the access key's secret")
    scaler_address: str = Field(
        "127.0.0.1:8083", description="host:port where KEDA asks how many workers are needed"
    )
    scaler_token: str = Field(
        "",
        pattern=r"^(.{32,})?$",
        description="what KEDA must show there; without one, nothing listens there",
    )
    database_connections: int = Field(
        8, ge=2, le=200, description="connections to Postgres, besides two for wake-ups"
    )
    lease_seconds: float = Field(
        15.0, ge=1, le=600, description="how long a silent worker keeps its runs"
    )
    retention_days: int = Field(
        90, ge=0, le=10_000, description="how long finished runs are kept; 0 is for ever"
    )
    secrets_key: str = Field(
        "",
        description="encrypts secrets of tenants and webhooks and the keys that sign tokens; several "
        "with commas: the first encrypts",
    )
    webhook_retry_seconds: float = Field(
        5.0,
        gt=0,
        le=3600,
        description="pause before a webhook's second try; each is 4 times longer",
    )
    issuer: str = Field(
        "crewmesh", min_length=1, description="names this mesh in the access tokens that it signs"
    )
    bootstrap_api_key: str = Field(
        "", description="the first owner's key; used on an empty database only"
    )
    bootstrap_email: str = Field("owner@localhost", description="the first owner's address")
    bootstrap_org: str = Field("default", description="the first organisation's name")

    def mesh_addresses(self) -> dict[str, str]:
        """Return where this service listens, by the setting that says so."""
        scaler = {"scaler_address": self.scaler_address} if self.scaler_token else {}
        return {"store_address": self.store_address} | scaler

    def s3(self) -> S3Options:
        """Return how to reach an S3-compatible server."""
        return S3Options(self.s3_endpoint, self.s3_region, self.s3_access_key, self.s3_secret_key)
