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

from crewmesh.common.errors import CrewmeshError
from crewmesh.common.grpc_client import file_stub, identity_stub, open_channel, run_store_stub
from crewmesh.common.grpc_server import GrpcServer
from crewmesh.common.identity import IdentitySigner, IdentityVerifier
from crewmesh.common.lifecycle import fail, report_ready, settle_memory, stop_requested
from crewmesh.common.logging import configure_logging
from crewmesh.v1 import agent_pb2_grpc, run_store_pb2
from crewmesh_worker.authentication import CallAuthenticator
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.files import WorkerFiles
from crewmesh_worker.runner.pool import RunnerPool
from crewmesh_worker.runner.settings import RunnerSettings
from crewmesh_worker.runs.admission import Admission
from crewmesh_worker.runs.executor import Executor
from crewmesh_worker.runs.leases import LeaseKeeper, LeaseReceiver
from crewmesh_worker.runs.log import LogWriter
from crewmesh_worker.runs.slots import Slots
from crewmesh_worker.servicer import AgentServicer
from crewmesh_worker.settings import WorkerSettings

log = structlog.get_logger(__name__)

_STOP_GRACE_SECONDS = 5.0


class Worker:
    """The service, put together."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self.worker_id = settings.worker_id or str(uuid7())
        self._channel = open_channel(settings.store_target)
        self._signer = IdentitySigner(settings.mesh_secret, "agent_worker")
        self._store = run_store_stub(self._channel)
        self._slots = Slots(settings.slots)
        self._pool = RunnerPool(
            RunnerSettings(
                slots=settings.slots,
                scratch_dir=settings.scratch_dir,
                builder=settings.runner_builder,
            )
        )
        self._writer = LogWriter(self._store, self._signer)
        cache_dir = settings.dataset_cache_dir or Path(tempfile.gettempdir()) / "crewmesh-datasets"
        files = WorkerFiles(file_stub(self._channel), self._signer, cache_dir)
        catalogue = Catalogue.load(settings.crews_dir)
        self._executor = Executor(
            self._slots, catalogue, self._pool, self._writer, files,
            settings.model, settings.environment_of_runs(), settings.input_timeout_seconds,
        )  # fmt: skip
        admission = Admission(
            self.worker_id, self._store, self._signer, catalogue, files, self._slots,
            self._executor, settings.default_timeout_seconds, settings.default_max_attempts,
        )  # fmt: skip
        self._servicer = AgentServicer(catalogue, admission, self._store, self._signer)
        self._server = GrpcServer(
            CallAuthenticator(
                IdentityVerifier(settings.mesh_secret),
                identity_stub(self._channel),
                self._signer,
            ),
            reflect=settings.reflection,
        )
        self._keeper = LeaseKeeper(
            self._store, self._signer, self.worker_id, self._slots, self._executor
        )
        self.address = ""

    async def start(self) -> LeaseReceiver:
        """Have runners ready, and listen only then.

        Callers balance over all workers that listen, and a run that is started here meanwhile
        would have to wait, its lease running out, for runners that others have.
        """
        log.info("waiting for runners (CrewAI's import takes some seconds)")
        await self._pool.start()
        self._server.add(
            agent_pb2_grpc.add_AgentServiceServicer_to_server,
            self._servicer,
            "crewmesh.v1.AgentService",
        )
        port = await self._server.start(self._settings.worker_address)
        self.address = f"{self._settings.worker_address.rpartition(':')[0]}:{port}"
        hello = run_store_pb2.WorkerHello(
            worker_id=self.worker_id,
            address=self.address,
            slots=self._settings.slots,
            version=version("crewmesh-worker"),
        )
        return LeaseReceiver(self._store, self._signer, hello, self._slots, self._executor)

    async def serve(self, receiver: LeaseReceiver, stop: asyncio.Event) -> None:
        """Take and execute runs until `stop` is set; then let them finish."""
        receiving = asyncio.create_task(receiver.run())
        background = [
            asyncio.create_task(self._writer.run()),
            asyncio.create_task(self._keeper.run()),
        ]
        try:
            await receiver.attached.wait()
            await self._server.set_serving(True)
            settle_memory()
            report_ready(self._settings.ready_file, {"address": self.address})
            log.info("ready", address=self.address, worker_id=self.worker_id)
            await _first_of(stop, [receiving, *background])
            log.info("draining", running=self._slots.taken)
            self._slots.close()
            await self._server.set_serving(False)
            await self._executor.drain(self._settings.drain_seconds)
        finally:
            for task in (receiving, *background):
                task.cancel()

    async def stop(self) -> None:
        """Let calls under way end, then end the runners."""
        await self._server.stop(_STOP_GRACE_SECONDS)
        await self._pool.stop()
        await self._channel.close()


async def _first_of(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Return when `stop` is set; raise what a task raised, should one end before."""
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in done - {stopping}:
        task.result()


async def run(settings: WorkerSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    worker = Worker(settings)
    async with AsyncExitStack() as stack:
        stop = stop_requested()
        stack.push_async_callback(worker.stop)
        receiver = await worker.start()
        await worker.serve(receiver, stop)


def main() -> None:
    """Entry point of the process."""
    settings = WorkerSettings.load()
    configure_logging("agent_worker", settings.log_level)
    try:
        uvloop.run(run(settings))
    except CrewmeshError as error:
        fail(error.message)
