"""The worker's settings; see docs/reference/settings.md."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from crewmesh.common.mesh_tls import TlsDirectory
from crewmesh.common.settings import EdgeSettings
from crewmesh_worker.local_model.files import find_weights
from crewmesh_worker.local_model.settings import LocalModelSettings
from crewmesh_worker.runner.confinement import available
from crewmesh_worker.tools.network import settings as network

# An external API's base address: a way to put a cache, a paid plan or a test in its place.
BaseUrl = Annotated[str, Field(pattern=r"^https?://[^/?#]+(/[^?#]*)?$")]

_MODEL_VARIABLES = (
    "OPENAI_API_KEY,OPENAI_BASE_URL,ANTHROPIC_API_KEY,GEMINI_API_KEY,GOOGLE_API_KEY,"
    "AZURE_API_KEY,AZURE_ENDPOINT,AZURE_API_VERSION,AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY,"
    "AWS_REGION_NAME,GROQ_API_KEY,MISTRAL_API_KEY,OPENROUTER_API_KEY,DEEPSEEK_API_KEY,"
    "OLLAMA_HOST,CREWMESH_OFFLINE_LATENCY_MS,WEBHOOK_SECRET"
)


class WorkerSettings(EdgeSettings):
    """Read from `CREWMESH_...` environment variables."""

    worker_address: str = Field("127.0.0.1:8081", description="host:port to listen on")
    worker_public_address: str = Field(
        "",
        description="a second host:port, for internal services: TLS, and an API key instead of a certificate",
    )
    worker_public_tls_dir: Path | None = Field(
        None,
        description="cert.pem, key.pem and ca.pem for it; by default those of CREWMESH_TLS_DIR",
    )
    worker_id: str = Field("", description="a name of this worker; by default a new one each start")
    store_target: str = Field(description="gRPC name of the store, such as dns:///store:8082")
    metrics_address: str = Field(
        "", description="host:port where Prometheus reads /metrics; empty: nothing listens there"
    )
    slots: int = Field(
        default_factory=lambda: 8 * (os.cpu_count() or 1), ge=1, le=1000,
        description="runs at the same time",
    )  # fmt: skip
    model: str = Field(
        "offline",
        description="the default model of all crews, or several with commas: each is used when those before it fail",
    )
    prices: str = Field(
        "", description="prices of further models, as YAML or JSON; see how-to/choose-models.md"
    )
    local_model_file: Path | None = Field(
        None, description="weights (GGUF) of the model `local`; by default those installed with it"
    )
    local_context_tokens: int = Field(
        4096, ge=512, le=131_072, description="what the model `local` reads and writes at most"
    )
    local_max_tokens: int = Field(512, ge=1, le=32_768, description="of that, what it writes")
    local_max_tool_calls: int = Field(
        4, ge=0, le=100, description="calls for one task after which the model `local` must answer"
    )
    crews_dir: Path | None = Field(
        None,
        description="further crews: a directory of *.yaml files and CrewAI projects, or a project",
    )
    project_cache_dir: Path | None = Field(
        None, description="where projects' environments and snapshots are kept"
    )
    project_pools: int = Field(
        4, ge=1, le=100, description="projects' environments whose runners are kept warm"
    )
    project_model: str = Field(
        "", description="a model for all agents of all projects, instead of their own"
    )
    runner_builder: str = Field(
        "crewmesh_worker.crews.build:build_crew",
        description="module:function that makes a CrewAI crew of a definition, in runners",
    )
    runner_environment: str = Field(
        _MODEL_VARIABLES, description="names of the variables that runs may see, with commas"
    )
    scratch_dir: Path | None = Field(
        None, description="where runs have their working directories; by default on tmpfs"
    )
    runner_confinement: Literal["auto", "off", "required"] = Field(
        "auto",
        description="hold runs to their own files by Landlock: where the kernel can, never, or no start without",
    )
    runner_writable: str = Field(
        "", description="further directories that runs may read and write, with commas"
    )
    runner_ports: str = Field(
        "53,80,443,11434",
        pattern=r"^(any|( *[0-9]{1,5} *(,|$))*)$",
        description="TCP ports that runs may connect to, with commas, besides those of the addresses that "
        "runs are given here; or `any`, the mesh's own among them",
    )
    dataset_cache_dir: Path | None = Field(None, description="where datasets are kept for runs")
    default_timeout_seconds: int = Field(
        3600, ge=1, le=86_400, description="how long an attempt may take"
    )
    default_max_attempts: int = Field(
        3, ge=1, le=20, description="failures, not of the crew's making, that end a run"
    )
    input_timeout_seconds: int = Field(
        7 * 86_400, ge=1, description="how long a run waits for a person"
    )
    history_tokens: int = Field(
        4000, ge=100, le=1_000_000, description="how much of a session a run is told, about"
    )
    drain_seconds: float = Field(20.0, ge=0, description="how long a stop lets runs finish")
    weather_url: BaseUrl = Field(
        network.ADDRESSES["weather_url"], description="Open-Meteo's forecasts, for get_weather"
    )
    geocoding_url: BaseUrl = Field(
        network.ADDRESSES["geocoding_url"],
        description="Open-Meteo's places, for get_weather and get_time",
    )
    encyclopedia_url: BaseUrl = Field(
        network.ADDRESSES["encyclopedia_url"], description="a MediaWiki, for look_up_topic"
    )
    currency_url: BaseUrl = Field(
        network.ADDRESSES["currency_url"], description="Frankfurter's rates, for convert_currency"
    )
    network_contact: str = Field(
        "",
        pattern=r"^[\x21-\x7e]*$",
        description="a URL or e-mail address by which hosts that tools fetch from can reach you",
    )
    private_network: bool = Field(
        False,
        description="let tools and webhooks reach private networks and this machine, "
        "where policy does",
    )
    reflection: bool = Field(False, description="serve gRPC reflection")

    def mesh_addresses(self) -> dict[str, str]:
        """Return where this service listens and whom it calls, by the setting that says so."""
        return {"worker_address": self.worker_address, "store_target": self.store_target}

    def confinement(self) -> dict[str, Any]:
        """Return what runners are held to, as fields of RunnerSettings."""
        return {
            "confined": self.runner_confinement != "off",
            "writable": tuple(
                Path(p.strip()) for p in self.runner_writable.split(",") if p.strip()
            ),
            "ports": self._ports_of_runs(),
        }

    def _ports_of_runs(self) -> tuple[int, ...] | None:
        if self.runner_ports == "any":
            return None
        named = {int(port) for port in self.runner_ports.split(",") if port.strip()}
        given = filter(None, map(_port_of, self.environment_of_runs().values()))
        return tuple(sorted({*named, *given}))

    def public_tls(self) -> TlsDirectory | None:
        """Return the certificate of the second address; None where nothing listens there."""
        if not self.worker_public_address:
            return None
        directory = self.worker_public_tls_dir or self.tls_dir
        assert directory is not None
        return TlsDirectory(directory)

    @model_validator(mode="after")
    def _check_confinement(self) -> Self:
        if any(not 0 < port < 65_536 for port in self._ports_of_runs() or ()):
            raise ValueError("CREWMESH_RUNNER_PORTS: a port is between 1 and 65535")
        if self.runner_confinement == "required" and not available():
            raise ValueError(
                "CREWMESH_RUNNER_CONFINEMENT=required, and this kernel has no Landlock: it takes "
                "Linux 5.13 with `landlock` among its lsm=, or set it to auto"
            )
        return self

    @model_validator(mode="after")
    def _check_public_address(self) -> Self:
        if self.worker_public_address and self.tls_dir is None:
            raise ValueError(
                "CREWMESH_WORKER_PUBLIC_ADDRESS needs CREWMESH_TLS_DIR: without it the first address "
                "takes callers with no certificate, too"
            )
        if self.worker_public_address and self.worker_public_tls_dir is not None:
            TlsDirectory(self.worker_public_tls_dir)
        return self

    def models(self) -> list[str]:
        """Return the default models, in order."""
        return [name.strip() for name in self.model.split(",") if name.strip()] or ["offline"]

    def local_model(self) -> LocalModelSettings | None:
        """Return how to serve the model `local`; None where it isn't installed."""
        weights = find_weights(self.local_model_file)
        if weights is None:
            return None
        return LocalModelSettings(
            weights=weights,
            context_tokens=self.local_context_tokens,
            max_tokens=self.local_max_tokens,
            max_tool_calls=self.local_max_tool_calls,
            threads=min(4, os.cpu_count() or 1),
        )

    def environment_of_runs(self) -> dict[str, str]:
        """Return the variables that runs may see, with their values here."""
        names = (name.strip() for name in self.runner_environment.split(","))
        given = {name: os.environ[name] for name in names if name in os.environ}
        return given | {
            **{network.variable(name): getattr(self, name) for name in network.ADDRESSES},
            network.variable(network.CONTACT): self.network_contact,
            network.variable(network.PRIVATE): "true" if self.private_network else "",
        }


def _port_of(value: str) -> int | None:
    """Return the port of a variable that is a URL, or a host with its port; None of any other."""
    host_and_port = re.fullmatch(r"[\w.-]+:\d{1,5}", value)
    if "://" not in value and not host_and_port:
        return None
    try:
        return urlsplit(f"//{value}" if host_and_port else value).port
    except ValueError:
        return None
