"""The parts of an embedded mesh, and their start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crewmesh.cli.connection import Connection
from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.log_file import LogFile
from crewmesh.cli.mesh.ports import HOST, ReservedPort
from crewmesh.cli.mesh.postgres import Postgres
from crewmesh.cli.mesh.projects import prepare_projects
from crewmesh.cli.mesh.service import Report, Service, ServiceSpec
from crewmesh.common.mesh_tls import GATEWAY, STORE, WORKER

if TYPE_CHECKING:
    import psutil

# A worker's runs get this long to end by themselves when the mesh stops.
_DRAIN_SECONDS = 30.0
# The person's own key and address are for the command line; and each service has its log here.
_NOT_FOR_SERVICES = frozenset({"CREWMESH_API_KEY", "CREWMESH_URL", "CREWMESH_LOG_PATH"})


_TLS_ROLES = {"crewmesh_store": STORE, "crewmesh_worker": WORKER, "crewmesh_gateway": GATEWAY}


@dataclass(frozen=True)
class MeshOptions:
    """What `crewmesh up` was asked for. Port 0 is any free one; slots None the worker's default.

    `crews` is absolute; without it, the setting CREWMESH_CREWS_DIR holds.
    """

    directory: MeshDirectory
    port: int
    grpc_port: int
    workers: int
    slots: int | None
    crews: Path | None = None


class EmbeddedMesh:
    """Postgres, a store, workers and a gateway, as children of this process."""

    def __init__(self, options: MeshOptions, report: Report) -> None:
        self._options = options
        self._directory = options.directory
        self._report = report
        self._ports: list[ReservedPort] = []
        self._stop_order: list[list[Service]] = []

    @property
    def connection(self) -> Connection:
        """Return how to talk to the mesh as its owner, once it has started."""
        key_file = self._directory.api_key_file
        key = key_file.read_text(encoding="utf-8").strip() if key_file.exists() else ""
        return Connection(self.url, key, f"the local mesh in {self._directory.root}")

    @property
    def url(self) -> str:
        """Return the REST interface's address."""
        return str(self._read_ready("gateway")["url"])

    @property
    def grpc(self) -> str:
        """Return the gRPC interface's address, which is the first worker's."""
        return str(self._read_ready("worker-1")["address"])

    @property
    def metrics(self) -> dict[str, str]:
        """Return where each service's metrics are, by its name."""
        workers = [f"worker-{number + 1}" for number in range(self._options.workers)]
        inner = {name: self._read_ready(name)["metrics"] for name in ("store", *workers)}
        urls = {name: f"http://{address}/metrics" for name, address in inner.items()}
        return {"gateway": f"{self.url}/metrics", **urls}

    async def start(self) -> None:
        """Start all that can at once; return when all of it is ready."""
        gateway_port = self._reserve(self._options.port, "--port")
        worker_ports = [self._reserve(self._options.grpc_port, "--grpc-port")]
        worker_ports += [self._reserve() for _ in range(self._options.workers - 1)]
        store_port = self._reserve()
        self._directory.prepare()
        postgres = Postgres(self._directory)
        await postgres.stop_orphan()
        self._directory.renew_runtime()
        environment = self._shared_environment(store_port, worker_ports)

        database = self._service(postgres.spec({**os.environ, "PGTZ": "UTC"}))
        store = self._service(self._store_spec(environment, store_port, postgres.url))
        workers = [
            self._service(self._worker_spec(environment, number, port))
            for number, port in enumerate(worker_ports, start=1)
        ]
        gateway = self._service(self._gateway_spec(environment, gateway_port))
        self._stop_order = [[gateway], workers, [store], [database]]

        async def start_database_and_store() -> None:
            await postgres.initialise()
            await database.start()
            await postgres.make_roles()
            await store.start()

        async def start_workers() -> None:
            if crews := environment.get("CREWMESH_CREWS_DIR"):
                await prepare_projects(Path(crews), self._directory.projects, self._report)
            await _all_or_first_failure(*(worker.start() for worker in workers))

        await _all_or_first_failure(start_database_and_store(), start_workers(), gateway.start())
        for service in (database, store, *workers, gateway):
            service.supervise()
        self._directory.write_address(self.url, self.grpc, self.metrics)

    async def stop(self, force: asyncio.Event) -> None:
        """Stop the gateway, then the workers, the store and Postgres; leave nothing behind."""
        self._directory.address_file.unlink(missing_ok=True)
        family = _descendants()
        for services in self._stop_order:
            await asyncio.gather(*(service.stop(force) for service in services))
        _kill_survivors(family)
        for port in self._ports:
            port.release()
        self._directory.remove_runtime()

    def _reserve(self, port: int = 0, option: str = "") -> ReservedPort:
        reserved = ReservedPort(port, option)
        self._ports.append(reserved)
        return reserved

    def _service(self, spec: ServiceSpec) -> Service:
        self._report(spec.name, "waiting", "")
        return Service(spec, LogFile(self._directory.logs / f"{spec.name}.log"), self._report)

    def _shared_environment(
        self, store: ReservedPort, workers: list[ReservedPort]
    ) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_SERVICES}
        if self._options.crews is not None:
            own["CREWMESH_CREWS_DIR"] = str(self._options.crews)
        return own | {
            "CREWMESH_MESH_SECRET_FILE": str(self._directory.mesh_secret_file),
            "CREWMESH_METRICS_ADDRESS": f"{HOST}:0",
            "CREWMESH_STORE_TARGET": f"ipv4:{store.address}",
            "CREWMESH_WORKER_TARGET": "ipv4:" + ",".join(port.address for port in workers),
        }

    def _store_spec(
        self, environment: Mapping[str, str], port: ReservedPort, database_url: str
    ) -> ServiceSpec:
        settings = {
            "CREWMESH_DATABASE_URL": database_url,
            "CREWMESH_STORE_ADDRESS": port.address,
            "CREWMESH_OBJECT_STORE_URL": self._directory.objects.as_uri(),
        }
        if not {"CREWMESH_SECRETS_KEY", "CREWMESH_SECRETS_KEY_FILE"} & environment.keys():
            settings["CREWMESH_SECRETS_KEY_FILE"] = str(self._directory.secrets_key_file)
        if self._directory.api_key_file.exists():
            settings["CREWMESH_BOOTSTRAP_API_KEY_FILE"] = str(self._directory.api_key_file)
        return self._spec("store", "crewmesh_store", environment, settings)

    def _worker_spec(
        self, environment: Mapping[str, str], number: int, port: ReservedPort
    ) -> ServiceSpec:
        name = f"worker-{number}"
        scratch = self._directory.runtime / name
        scratch.mkdir(mode=0o700)
        settings = {
            "CREWMESH_WORKER_ADDRESS": port.address,
            "CREWMESH_SCRATCH_DIR": str(scratch),
            "CREWMESH_DATASET_CACHE_DIR": str(self._directory.dataset_cache),
            "CREWMESH_PROJECT_CACHE_DIR": str(self._directory.projects),
        }
        if self._options.slots is not None:
            settings["CREWMESH_SLOTS"] = str(self._options.slots)
        return self._spec(name, "crewmesh_worker", environment, settings, _DRAIN_SECONDS)

    def _gateway_spec(self, environment: Mapping[str, str], port: ReservedPort) -> ServiceSpec:
        # It answers this machine alone, so its metrics may be where all else is.
        settings = {
            "CREWMESH_HOST": HOST,
            "CREWMESH_PORT": str(port.number),
            "CREWMESH_METRICS_ADDRESS": "",
        }
        return self._spec("gateway", "crewmesh_gateway", environment, settings)

    def _spec(
        self,
        name: str,
        module: str,
        environment: Mapping[str, str],
        settings: Mapping[str, str],
        grace_seconds: float = 15.0,
    ) -> ServiceSpec:
        ready_file = self._ready_file(name)
        own = {**environment, **settings, "CREWMESH_READY_FILE": str(ready_file)}
        if directory := own.get("CREWMESH_TLS_DIR"):
            # Here it is what `crewmesh certs` made: a directory for each role.
            own["CREWMESH_TLS_DIR"] = str(Path(directory).absolute() / _TLS_ROLES[module])
        return ServiceSpec(
            name=name,
            command=[sys.executable, "-m", module],
            environment=own,
            is_ready=lambda _: ready_file.exists(),
            prepare=lambda: ready_file.unlink(missing_ok=True),
            grace_seconds=grace_seconds,
        )

    def _ready_file(self, name: str) -> Path:
        return self._directory.runtime / f"{name}.json"

    def _read_ready(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._ready_file(name).read_text(encoding="utf-8"))
        return content


async def _all_or_first_failure(*starts: Any) -> None:
    tasks = [asyncio.ensure_future(start) for start in starts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _descendants() -> list[psutil.Process]:
    import psutil

    return psutil.Process().children(recursive=True)


def _kill_survivors(family: list[psutil.Process]) -> None:
    """Kill those of our children's children that their parents should have ended."""
    import psutil

    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
