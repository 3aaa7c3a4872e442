"""Settings: typed, from environment variables, checked at start.

A service subclasses `Settings`. Each field `name` is read from `CREWMESH_NAME`, or
from the file that `CREWMESH_NAME_FILE` names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

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
                sys.stderr.write(f"crewmesh: setting {name}: {fault['msg']}\n")
            raise SystemExit(2) from None


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
