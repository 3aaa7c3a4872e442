"""The gateway's settings; see docs/reference/settings.md."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Self

from pydantic import Field, field_validator, model_validator

from crewmesh.common.settings import EdgeSettings
from crewmesh_gateway.graphql.settings import GraphqlLimits
from crewmesh_gateway.oidc.settings import OidcSettings, parse_map


class GatewaySettings(EdgeSettings):
    """Read from `CREWMESH_...` environment variables."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65_535, description="port to listen on; 0 picks a free one")
    metrics_address: str = Field(
        "",
        description="host:port where Prometheus reads /metrics, which the public port then doesn't "
        "have; empty: it is at the public port, for everybody",
    )
    worker_target: str = Field(
        min_length=1, description="gRPC name of the agent workers, such as dns:///agent-worker:8081"
    )
    store_target: str = Field(
        min_length=1, description="gRPC name of the store, such as dns:///store:8082"
    )
    max_body_kb: int = Field(1024, ge=1, le=8192, description="longest JSON body, in KiB")
    max_upload_mb: int = Field(256, ge=1, description="largest dataset, in MiB")
    trusted_proxies: str = Field(
        "",
        description="addresses or networks of proxies whose X-Forwarded-For tells where a request comes "
        "from, with commas; without one, the connection tells",
    )
    graphql_introspection: bool = Field(True, description="whether /graphql tells its schema")
    graphql_max_tokens: int = Field(
        1_000, ge=1, description="how long a GraphQL query may be: names, numbers, brackets"
    )
    graphql_max_depth: int = Field(12, ge=1, description="how deep a GraphQL query may nest")
    graphql_max_cost: int = Field(
        100_000, ge=1, description="how many fields a GraphQL query may ask for, at most"
    )
    drain_seconds: int = Field(10, ge=0, description="how long a stop lets requests finish")
    oidc_issuer: str = Field(
        "",
        description="OpenID Connect provider by which people may sign in, such as https://id.example",
    )
    oidc_client_id: str = Field("", description="what the provider calls this mesh")
    oidc_client_secret: str = Field(
        "", description="and the secret that goes with it, if there is one"
    )
    oidc_redirect_uri: str = Field(
        "", description="the gateway's own address as browsers see it, with /v1/auth/oidc/callback"
    )
    oidc_scopes: str = Field("openid email profile", description="what the provider is asked for")
    oidc_label: str = Field(
        "single sign-on", min_length=1, max_length=60, description="its name on the sign-in page"
    )
    oidc_algorithms: str = Field(
        "RS256,ES256", description="signatures of ID tokens that are taken, with commas"
    )
    oidc_trust_email: bool = Field(
        False,
        description="take addresses for verified though the provider doesn't say so: only where it "
        "gives nobody another's",
    )
    oidc_org: str = Field("default", description="the organisation that people come into")
    oidc_org_claim: str = Field("", description="or the claim that says which")
    oidc_orgs: str = Field(
        "", description="and what its values mean: `value=organisation`, with commas"
    )
    oidc_role: str = Field(
        "",
        description="the role of newcomers, and of whom the claim gives none; without it they stay out",
    )
    oidc_role_claim: str = Field("", description="the claim that says which role, such as groups")
    oidc_roles: str = Field("", description="and what its values mean: `value=role`, with commas")

    def oidc(self) -> OidcSettings | None:
        """Return the provider; None without one. Raises ValueError for one that can't be used."""
        if not self.oidc_issuer:
            return None
        return OidcSettings(
            issuer=self.oidc_issuer,
            client_id=self.oidc_client_id,
            client_secret=self.oidc_client_secret,
            redirect_uri=self.oidc_redirect_uri,
            scopes=self.oidc_scopes,
            label=self.oidc_label,
            algorithms=tuple(filter(None, (a.strip() for a in self.oidc_algorithms.split(",")))),
            trust_email=self.oidc_trust_email,
            org=self.oidc_org,
            org_claim=self.oidc_org_claim,
            orgs=parse_map(self.oidc_orgs),
            role=self.oidc_role,
            role_claim=self.oidc_role_claim,
            roles=parse_map(self.oidc_roles),
        )

    def graphql(self) -> GraphqlLimits:
        """Return what a GraphQL query may ask for."""
        return GraphqlLimits(
            introspection=self.graphql_introspection,
            max_tokens=self.graphql_max_tokens,
            max_depth=self.graphql_max_depth,
            max_cost=self.graphql_max_cost,
        )

    @model_validator(mode="after")
    def _check_oidc(self) -> Self:
        self.oidc()
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _check_trusted_proxies(cls, proxies: str) -> str:
        # Not `*`: then anybody could say where they come from.
        for proxy in filter(None, map(str.strip, proxies.split(","))):
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError(f"{proxy!r} is no address and no network (10.0.0.0/8)") from None
        return proxies

    def mesh_addresses(self) -> dict[str, str]:
        """Return whom this service calls, by the setting that says so."""
        return {"worker_target": self.worker_target, "store_target": self.store_target}
