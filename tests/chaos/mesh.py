"""The mesh under test: real processes, with a link that can be broken between any two."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.ports import HOST, ReservedPort
from crewmesh.cli.mesh.postgres import Postgres
from crewmesh.cli.mesh.service import ServiceSpec
from tests.chaos import ledger
from tests.chaos.crews.names import HUNGER_VARIABLE
from tests.chaos.disk import Disk
from tests.chaos.part import Part
from tests.chaos.proxy import Link, to_port, to_socket

STORES, WORKERS, GATEWAYS, SLOTS = 2, 3, 2, 4
LEASE_SECONDS = 3.0
_ROOT = Path(__file__).parents[2]
# What services are told, or see to themselves.
_NOT_INHERITED = ("CREWMESH_", "GRPC_ENABLE_FORK_SUPPORT")
_CREWS = Path(__file__).parent / "crews"
_START_SECONDS = 300.0
# A worker without runs has nothing to wait for.
_STOP_SECONDS = 60.0


class Mesh:
    """Postgres, 2 stores, 3 workers and 2 gateways under `root`.

    `worker_environment` is for the workers besides, and overrides what is usual.
    """

    def __init__(
        self,
        root: Path,
        rng: random.Random,
        lease_seconds: float = LEASE_SECONDS,
        worker_environment: Mapping[str, str] | None = None,
    ) -> None:
        self._lease_seconds = lease_seconds
        self._worker_environment = worker_environment or {}
        self.ledger = root / "ledger.jsonl"
        self.hunger = root / "hungry"
        self.logs = root / "logs"
        self.logs.mkdir()
        self.disk = Disk(root / "disk")
        self.api_key = f"cm_{secrets.token_urlsafe(32)}"
        self._root = root
        self._rng = rng
        self._directory = MeshDirectory(self.disk.path)
        self._postgres = Postgres(self._directory)
        self._ports = {
            name: ReservedPort(0, name)
            for kind, count in (("store", STORES), ("worker", WORKERS), ("gateway", GATEWAYS))
            for name in names(kind, count)
        }
        self.links = self._make_links()
        self.parts = {part.name: part for part in self._make_parts()}

    @property
    def database_url(self) -> str:
        """Return the address of the database itself, which no fault of a link reaches."""
        return self._postgres.url

    @property
    def urls(self) -> list[str]:
        """Return where clients reach the gateways."""
        return [f"http://{link.address}" for link in self.links_between("client", "gateway")]

    @property
    def worker_addresses(self) -> list[str]:
        """Return where clients reach the workers, over gRPC."""
        return [link.address for link in self.links_between("client", "worker")]

    def address_of(self, name: str) -> str:
        """Return where a part listens."""
        return self._ports[name].address

    def parts_of(self, kind: str) -> list[Part]:
        """Return the parts of a kind: postgres, store, worker or gateway."""
        return [part for name, part in self.parts.items() if name.split("-")[0] == kind]

    def links_between(self, near: str, far: str) -> list[Link]:
        """Return the links over which parts of one kind call those of another."""
        return [
            link
            for (caller, called), link in self.links.items()
            if caller.startswith(near) and called.startswith(far)
        ]

    async def start(self) -> None:
        """Start everything; return when all of it is ready."""
        self._directory.prepare()
        self._directory.renew_runtime()
        for link in self.links.values():
            await link.open()
        for name in names("worker", WORKERS):
            self._scratch(name).mkdir()
        await self._postgres.initialise()
        async with asyncio.timeout(_START_SECONDS):
            self.parts["postgres"].start()
            await self.parts["postgres"].ready.wait()
            await self._postgres.make_roles()
            for name, part in self.parts.items():
                if name != "postgres":
                    part.start()
            await self.all_ready()

    async def all_ready(self) -> None:
        """Return once every part is ready."""
        for part in self.parts.values():
            await part.ready.wait()

    async def stop_services(self) -> list[str]:
        """Stop all but Postgres; return the names of those that had to be killed."""
        stubborn = []
        for kind in ("gateway", "worker", "store"):
            parts = self.parts_of(kind)
            ended = await asyncio.gather(*(part.stop(_STOP_SECONDS) for part in parts))
            stubborn += [part.name for part, well in zip(parts, ended, strict=True) if not well]
        return stubborn

    async def stop(self) -> None:
        """End all that is left."""
        await asyncio.gather(*(part.stop(_STOP_SECONDS) for part in self.parts.values()))
        for link in self.links.values():
            link.close()
        for process in self.runner_processes():
            process.kill()
        for port in self._ports.values():
            port.release()
        self._directory.remove_runtime()
        self.disk.close()

    def runner_processes(self) -> list[psutil.Process]:
        """Return the zygotes and runners that live, whatever became of their worker.

        A zygote's command line, which its forks share, names its worker's scratch directory.
        """
        mark = str(self._root / "scratch")
        found = psutil.process_iter(["cmdline", "status"])
        return [
            process
            for process in found
            if process.info["status"] != psutil.STATUS_ZOMBIE
            and any(mark in argument for argument in process.info["cmdline"] or ())
        ]

    def _make_links(self) -> dict[tuple[str, str], Link]:
        socket = str(self._directory.runtime / "postgres" / ".s.PGSQL.5432")
        stores, workers = names("store", STORES), names("worker", WORKERS)
        pairs = [(gateway, called) for gateway in names("gateway", GATEWAYS)
                 for called in (*workers, *stores)]  # fmt: skip
        pairs += [(worker, store) for worker in workers for store in stores]
        pairs += [("client", called) for called in (*names("gateway", GATEWAYS), *workers)]
        links = {
            (near, far): Link(f"{near} to {far}", to_port(self._ports[far].number))
            for near, far in pairs
        }
        for store in stores:
            links[store, "postgres"] = Link(f"{store} to postgres", to_socket(socket))
        return links

    def _make_parts(self) -> list[Part]:
        shared = {
            **{k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)},
            "PYTHONPATH": str(_ROOT),
            "CREWMESH_MESH_SECRET": secrets.token_urlsafe(32),
        }
        specs = [self._postgres.spec({**os.environ, "PGTZ": "UTC"})]
        specs += [self._store(name, shared) for name in names("store", STORES)]
        specs += [self._worker(name, shared) for name in names("worker", WORKERS)]
        specs += [self._gateway(name, shared) for name in names("gateway", GATEWAYS)]
        return [
            Part(spec, self.logs / f"{spec.name}.log", random.Random(self._rng.random()))
            for spec in specs
        ]

    def _store(self, name: str, shared: dict[str, str]) -> ServiceSpec:
        database = self.links[name, "postgres"].address
        return self._spec(name, "crewmesh_store", {
            **shared,
            "CREWMESH_DATABASE_URL": f"postgresql://crewmesh@{database}/crewmesh",
            "CREWMESH_STORE_ADDRESS": self._ports[name].address,
            "CREWMESH_OBJECT_STORE_URL": (self._root / "objects").as_uri(),
            "CREWMESH_LEASE_SECONDS": str(self._lease_seconds),
            "CREWMESH_BOOTSTRAP_API_KEY": self.api_key,
        })  # fmt: skip

    def _worker(self, name: str, shared: dict[str, str]) -> ServiceSpec:
        return self._spec(name, "crewmesh_worker", {
            **shared,
            "CREWMESH_WORKER_ADDRESS": self._ports[name].address,
            "CREWMESH_STORE_TARGET": self._target(name, "store"),
            "CREWMESH_SLOTS": str(SLOTS),
            "CREWMESH_SCRATCH_DIR": str(self._scratch(name)),
            # The ledger is there, which runs write.
            "CREWMESH_RUNNER_WRITABLE": str(self.ledger.parent),
            "CREWMESH_DATASET_CACHE_DIR": str(self._root / "cache"),
            "CREWMESH_CREWS_DIR": str(_CREWS),
            "CREWMESH_RUNNER_BUILDER": "tests.chaos.crews.build:build_crew",
            "CREWMESH_RUNNER_ENVIRONMENT": f"{ledger.LEDGER_VARIABLE},{HUNGER_VARIABLE}",
            "CREWMESH_DRAIN_SECONDS": "1",
            ledger.LEDGER_VARIABLE: str(self.ledger),
            HUNGER_VARIABLE: str(self.hunger),
            **self._worker_environment,
        })  # fmt: skip

    def _gateway(self, name: str, shared: dict[str, str]) -> ServiceSpec:
        return self._spec(name, "crewmesh_gateway", {
            **shared,
            "CREWMESH_HOST": HOST,
            "CREWMESH_PORT": str(self._ports[name].number),
            "CREWMESH_WORKER_TARGET": self._target(name, "worker"),
            "CREWMESH_STORE_TARGET": self._target(name, "store"),
            "CREWMESH_DRAIN_SECONDS": "2",
        })  # fmt: skip

    def _spec(self, name: str, module: str, environment: dict[str, str]) -> ServiceSpec:
        ready_file = self._root / f"{name}.json"
        return ServiceSpec(
            name=name,
            command=[sys.executable, "-m", module],
            environment={**environment, "CREWMESH_READY_FILE": str(ready_file)},
            is_ready=lambda _: ready_file.exists(),
            prepare=_removal_of(ready_file),
        )

    def _target(self, near: str, far: str) -> str:
        return "ipv4:" + ",".join(link.address for link in self.links_between(near, far))

    def _scratch(self, name: str) -> Path:
        parent = self._root / "scratch"
        parent.mkdir(exist_ok=True)
        return parent / name


def names(kind: str, count: int) -> Sequence[str]:
    """Return the names of all parts of a kind."""
    return [f"{kind}-{number}" for number in range(1, count + 1)]


def _removal_of(file: Path) -> Callable[[], None]:
    return lambda: file.unlink(missing_ok=True)
