"""How a worker starts, serves and stops."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import structlog
import uvloop
from uuid6 import uuid7

from crewmesh.common.errors import CrewmeshError, UnavailableError
from crewmesh.common.grpc_client import (
    budget_stub,
    crew_store_stub,
    delivery_stub,
    file_stub,
    identity_stub,
    limit_stub,
    open_channel,
    run_store_stub,
    session_store_stub,
    tenant_stub,
)
from crewmesh.common.grpc_server import GrpcServer
from crewmesh.common.identity import IdentitySigner, IdentityVerifier
from crewmesh.common.lifecycle import (
    fail,
    report_ready,
    settle_memory,
    stop_requested,
    until_stopped,
)
from crewmesh.common.logging import start_logging
from crewmesh.common.mesh_tls import GATEWAY, STORE
from crewmesh.common.metrics import MetricsServer
from crewmesh.common.request_limits import RequestLimiter
from crewmesh.common.tracing import configure_tracing, stop_tracing
from crewmesh.v1 import agent_pb2_grpc, run_store_pb2, session_pb2_grpc
from crewmesh_worker.authentication import CallAuthenticator
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.library import CrewLibrary
from crewmesh_worker.crews.shared import SharedCrews
from crewmesh_worker.crews.store import CrewStore
from crewmesh_worker.crews.uploaded import UploadedCrews
from crewmesh_worker.files import WorkerFiles
from crewmesh_worker.local_model.environment import MODEL
from crewmesh_worker.local_model.files import explain_missing
from crewmesh_worker.local_model.process import LocalModel
from crewmesh_worker.metrics import WorkerMetrics
from crewmesh_worker.projects.catalogue import Projects
from crewmesh_worker.projects.pools import ProjectPools
from crewmesh_worker.relay import StoreRelay
from crewmesh_worker.runner.confinement import available
from crewmesh_worker.runner.pool import RunnerPool
from crewmesh_worker.runner.settings import RunnerSettings
from crewmesh_worker.runs.admission import Admission
from crewmesh_worker.runs.deliveries import Deliverer
from crewmesh_worker.runs.executor import Executor
from crewmesh_worker.runs.leases import LeaseKeeper, LeaseReceiver
from crewmesh_worker.runs.log import LogWriter
from crewmesh_worker.runs.policies import TenantPolicies
from crewmesh_worker.runs.prices import PriceList
from crewmesh_worker.runs.runners import Runners, RunSettings
from crewmesh_worker.runs.slots import Slots
from crewmesh_worker.servicer import AgentServicer
from crewmesh_worker.sessions.memory import Memories
from crewmesh_worker.sessions.servicer import SessionServicer
from crewmesh_worker.settings import WorkerSettings

log = structlog.get_logger(__name__)

_STOP_GRACE_SECONDS = 5.0


class Worker:
    """The service, put together."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self.worker_id = settings.worker_id or str(uuid7())
        tls = settings.tls()
        self._channel = open_channel(settings.store_target, tls, STORE)
        self._signer = IdentitySigner(settings.mesh_secret, "agent_worker")
        self._store = run_store_stub(self._channel)
        self._slots = Slots(settings.slots)
        self._metrics = WorkerMetrics(self._slots)
        self._metrics_server = MetricsServer(self._metrics.registry, settings.metrics_address)
        temporary = Path(tempfile.gettempdir())
        project_cache_dir = settings.project_cache_dir or temporary / "crewmesh-projects"
        cache_dir = settings.dataset_cache_dir or temporary / "crewmesh-datasets"
        cache_dir.mkdir(parents=True, exist_ok=True)
        self._local_model = LocalModel(settings.local_model())
        confinement = settings.confinement()
        if confinement["ports"] is not None and self._local_model.port is not None:
            confinement["ports"] += (self._local_model.port,)
        self._projects = Projects(project_cache_dir, confinement=confinement)
        self._runners = Runners(
            RunnerPool(
                RunnerSettings(
                    slots=settings.slots,
                    scratch_dir=settings.scratch_dir,
                    builder=settings.runner_builder,
                    # Our own tools keep things there for later runs.
                    **{**confinement, "writable": (*confinement["writable"], cache_dir)},
                )
            ),
            ProjectPools(
                settings.project_pools,
                settings.slots,
                settings.scratch_dir,
                project_cache_dir,
                # Datasets whose names a run knows, and no list of them.
                {**confinement, "openable": (cache_dir,)},
            ),
        )
        run_settings = RunSettings(
            settings.models(), settings.project_model, settings.environment_of_runs()
        )
        self._writer = LogWriter(self._store, self._signer, self._metrics)
        files = WorkerFiles(file_stub(self._channel), self._signer, cache_dir)
        crew_store = CrewStore(crew_store_stub(self._channel), self._signer)
        self._crews = CrewLibrary(
            SharedCrews(Catalogue.load(settings.crews_dir), crew_store),
            UploadedCrews(crew_store),
            [self._projects],
        )
        sessions = session_store_stub(self._channel)
        self._executor = Executor(
            self._slots, self._crews, self._runners, self._writer, files,
            budget_stub(self._channel), self._signer, PriceList(settings.prices),
            run_settings, self._local_model, settings.input_timeout_seconds,
            settings.history_tokens, Memories(sessions, self._signer), self._metrics,
        )  # fmt: skip
        admission = Admission(
            self.worker_id, self._store, self._signer, self._crews, files, self._slots,
            self._executor, TenantPolicies(tenant_stub(self._channel), self._signer),
            run_settings, settings.default_timeout_seconds, settings.default_max_attempts,
        )  # fmt: skip
        relay = StoreRelay(self._signer)
        self._servicer = AgentServicer(self._crews, admission, self._store, self._signer, relay)
        self._sessions = SessionServicer(self._crews, admission, sessions, relay)
        self._limiter = RequestLimiter(
            limit_stub(self._channel),
            self._signer.metadata,
            of_caller=settings.requests_per_minute,
            of_address=settings.address_requests_per_minute,
        )
        self._server = GrpcServer(
            CallAuthenticator(
                IdentityVerifier(settings.mesh_secret),
                identity_stub(self._channel),
                self._signer,
                self._limiter,
            ),
            reflect=settings.reflection,
            tls=tls,
            peers=(GATEWAY,),
            calls=self._metrics.calls,
        )
        self._keeper = LeaseKeeper(
            self._store, self._signer, self.worker_id, self._slots, self._executor
        )
        self._deliverer = Deliverer(
            delivery_stub(self._channel),
            self._signer,
            settings.private_network,
        )
        self.address = ""

    async def start(self) -> LeaseReceiver:
        """Have runners ready and crews published, and listen only then.

        Callers balance over all workers that listen, and a run that is started here meanwhile
        would have to wait, its lease running out, for runners that others have.
        """
        settings = self._settings
        self._metrics_server.start()
        if MODEL in settings.models() and settings.local_model() is None:
            raise UnavailableError(explain_missing(settings.local_model_file))
        # Its weights are read while the runners' imports are; a model that no run uses by
        # default is started by the first that does.
        await self._local_model.environment(settings.models())
        _tell_confinement(settings)
        log.info("waiting for runners (CrewAI's import takes some seconds)")
        await asyncio.gather(
            self._runners.start(),
            self._crews.publish(),
            self._projects.load(self._settings.crews_dir),
        )
        self._server.add(
            agent_pb2_grpc.add_AgentServiceServicer_to_server,
            self._servicer,
            "crewmesh.v1.AgentService",
        )
        self._server.add(
            session_pb2_grpc.add_SessionServiceServicer_to_server,
            self._sessions,
            "crewmesh.v1.SessionService",
        )
        if (public_tls := settings.public_tls()) is not None:
            port = self._server.add_public_port(settings.worker_public_address, public_tls)
            log.info("listens for callers with API keys, too", port=port)
        port = await self._server.start(self._settings.worker_address)
        self.address = f"{self._settings.worker_address.rpartition(':')[0]}:{port}"
        hello = run_store_pb2.WorkerHello(
            worker_id=self.worker_id,
            address=self.address,
            slots=self._settings.slots,
            version=version("crewmesh-worker"),
        )
        receiver = LeaseReceiver(self._store, self._signer, hello, self._slots, self._executor)
        self._metrics.attached.set_function(receiver.attached.is_set)
        return receiver

    async def serve(self, receiver: LeaseReceiver, stop: asyncio.Event) -> None:
        """Take and execute runs until `stop` is set; then let them finish."""
        receiving = asyncio.create_task(receiver.run())
        background = [
            asyncio.create_task(self._writer.run()),
            asyncio.create_task(self._keeper.run()),
            asyncio.create_task(self._deliverer.run()),
        ]
        try:
            await receiver.attached.wait()
            await self._server.set_serving(True)
            settle_memory()
            report_ready(
                self._settings.ready_file,
                {"address": self.address, "metrics": self._metrics_server.address},
            )
            log.info("ready", address=self.address, worker_id=self.worker_id)
            await until_stopped(stop, [receiving, *background])
            log.info("draining", running=self._slots.taken)
            self._slots.close()
            await self._server.set_serving(False)
            await receiver.retire()
            await self._executor.drain(self._settings.drain_seconds)
        finally:
            for task in (receiving, *background):
                task.cancel()

    async def stop(self) -> None:
        """Let calls under way end, then end the runners."""
        await self._server.stop(_STOP_GRACE_SECONDS)
        await self._limiter.close()
        await self._runners.stop()
        await self._local_model.stop()
        await self._channel.close()
        await asyncio.to_thread(self._metrics_server.stop)


def _tell_confinement(settings: WorkerSettings) -> None:
    """Say at the start what the kernel holds runs to."""
    held = available() if settings.runner_confinement != "off" else []
    if not held:
        why = "it is off" if settings.runner_confinement == "off" else "the kernel has no Landlock"
        log.warning("runs are not confined to their own files", why=why)
        return
    ports = settings.confinement()["ports"] if "ports" in held else None
    log.info(
        "runs are confined",
        to_own=[h for h in held if h != "ports"],
        ports="any" if ports is None else list(ports),
    )


async def run(settings: WorkerSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_tracing("agent_worker", version("crewmesh-worker"), settings.otlp_endpoint)
    worker = Worker(settings)
    async with AsyncExitStack() as stack:
        stop = stop_requested()
        stack.push_async_callback(stop_tracing)
        stack.push_async_callback(worker.stop)
        receiver = await worker.start()
        await worker.serve(receiver, stop)


def main() -> None:
    """Entry point of the process."""
    settings = WorkerSettings.load()
    start_logging("agent_worker", settings)
    try:
        uvloop.run(run(settings))
    except CrewmeshError as error:
        fail(error.message)
