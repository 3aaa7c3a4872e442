"""Settings: typed, from environment variables, checked at start.

A service subclasses `Settings`. Each field `name` is read from `CREWMESH_NAME`, or
from the file that `CREWMESH_NAME_FILE` names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from crewmesh.common.mesh_tls import TlsDirectory, is_loopback

PREFIX = "CREWMESH_"


class Settings(BaseSettings):
    """Base of every service's settings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_path: Path | None = Field(
        None, description="a file for the log, besides stderr; a new one begins each day (UTC)"
    )
    log_keep_days: int = Field(
        14, ge=1, le=3650, description="how many days' files of that log are kept"
    )
    otlp_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^/?#]+(/[^?#]*)?)?$",
        description="where traces are sent, by OTLP over HTTP, such as http://otel-collector:4318; "
        "without it (or OpenTelemetry's own OTEL_EXPORTER_OTLP_ENDPOINT) nothing is traced",
    )
    ready_file: Path | None = Field(
        None, description="where the address is written as JSON once the service is ready"
    )

    @classmethod
    def load(cls) -> Self:
        """Read the environment; on a wrong setting, print one clear line each and exit with 2."""
        try:
            return cls(**_values_from_files(cls))  # type: ignore[arg-type]  # values of fields, by name
        except ValidationError as error:
            for fault in error.errors():
                name = PREFIX + "_".join(str(part) for part in fault["loc"]).upper()
                # A fault of several settings together names them itself.
                where = f"setting {name}: " if fault["loc"] else ""
                sys.stderr.write(f"crewmesh: {where}{fault['msg'].removeprefix('Value error, ')}\n")
            raise SystemExit(2) from None


class MeshSettings(Settings):
    """Base of the settings of services that take part in the mesh."""

    mesh_secret: str = Field(min_length=32, description="signs identities inside the mesh")
    tls_dir: Path | None = Field(
        None,
        description="directory of ca.pem, cert.pem and key.pem, as `crewmesh certs` makes it: "
        "the mesh then speaks mutual TLS only",
    )
    insecure_plaintext: bool = Field(
        False,
        description="let the mesh speak plain text off this machine, without CREWMESH_TLS_DIR",
    )

    def mesh_addresses(self) -> dict[str, str]:
        """Return where this service listens and whom it calls, by the setting that says so."""
        raise NotImplementedError

    def tls(self) -> TlsDirectory | None:
        """Return the service's certificate; None for plain text."""
        return TlsDirectory(self.tls_dir) if self.tls_dir is not None else None

    @field_validator("tls_dir")
    @classmethod
    def _check_tls_dir(cls, directory: Path | None) -> Path | None:
        if directory is not None:
            TlsDirectory(directory)
        return directory

    @model_validator(mode="after")
    def _check_plaintext(self) -> Self:
        if self.tls_dir is not None or self.insecure_plaintext:
            return self
        for name, address in self.mesh_addresses().items():
            if not is_loopback(address):
                raise ValueError(
                    f"{PREFIX}{name.upper()}={address} is not on this machine alone, and the mesh "
                    "would speak plain text there. Make certificates with `crewmesh certs DIR` and "
                    f"set {PREFIX}TLS_DIR; or set {PREFIX}INSECURE_PLAINTEXT=true where something "
                    "else protects that network"
                )
        return self


class EdgeSettings(MeshSettings):
    """Base of the settings of services that people and programs outside may call."""

    requests_per_minute: int = Field(
        60_000,
        ge=0,
        le=1_000_000,
        description="of one API key, or one person signed in, over all edges of the mesh; 0: no limit",
    )
    address_requests_per_minute: int = Field(
        6_000,
        ge=0,
        le=1_000_000,
        description="of one network address, without a credential that is known to be good; 0: no limit",
    )


def _values_from_files(cls: type[Settings]) -> dict[str, str]:
    values = {}
    for name in cls.model_fields:
        variable = f"{PREFIX}{name.upper()}_FILE"
        if path := os.environ.get(variable):
            try:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                sys.stderr.write(f"crewmesh: setting {variable}: {path}: {error.strerror}\n")
                raise SystemExit(2) from None
    return values
