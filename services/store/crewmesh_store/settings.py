"""The store's settings; see docs/reference/settings.md."""

from __future__ import annotations

from pydantic import Field

from crewmesh.common.settings import Settings


class StoreSettings(Settings):
    """Read from `CREWMESH_...` environment variables."""

    database_url: str = Field(
        description="postgresql://... of the database; libpq's parameters in it win over ours"
    )
    store_address: str = Field("127.0.0.1:8082", description="host:port to listen on")
    mesh_secret: str = Field(min_length=32, description="signs identities inside the mesh")
    object_store_url: str = Field(description="file:///path or s3://bucket/prefix")
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
