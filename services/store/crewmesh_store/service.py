"""How the store starts, serves and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog
import uvloop

from crewmesh.common.errors import CrewmeshError
from crewmesh.common.grpc_server import GrpcServer
from crewmesh.common.identity import IDENTITY_METADATA_KEY, Identity, IdentityVerifier
from crewmesh.common.lifecycle import fail, report_ready, settle_memory, stop_requested
from crewmesh.common.logging import configure_logging
from crewmesh.v1 import file_pb2_grpc, identity_pb2_grpc, run_store_pb2, run_store_pb2_grpc
from crewmesh_store.database import Database
from crewmesh_store.files.objects import Objects
from crewmesh_store.files.repository import FileRepository
from crewmesh_store.files.servicer import FileServicer
from crewmesh_store.identity.keys import KeyRepository
from crewmesh_store.identity.maintenance import keep_keys_fresh
from crewmesh_store.identity.passwords import Passwords
from crewmesh_store.identity.principals import Principals
from crewmesh_store.identity.servicer import IdentityServicer
from crewmesh_store.identity.sign_ins import SignIns
from crewmesh_store.identity.signing import KeyRing
from crewmesh_store.identity.users import UserRepository
from crewmesh_store.migrations import migrate
from crewmesh_store.runs.dispatch import Dispatcher
from crewmesh_store.runs.hub import EventHub
from crewmesh_store.runs.maintenance import expire, make_partitions
from crewmesh_store.runs.repository import RunRepository
from crewmesh_store.runs.retention import Retention
from crewmesh_store.runs.servicer import RunStoreServicer
from crewmesh_store.runs.wakeups import Wakeup, Wakeups
from crewmesh_store.settings import StoreSettings

log = structlog.get_logger(__name__)

_STOP_GRACE_SECONDS = 5.0


class Store:
    """The service, put together."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._database = Database(settings.database_url, settings.database_connections)
        self._verifier = IdentityVerifier(settings.mesh_secret)
        self._runs = RunRepository(self._database, timedelta(seconds=settings.lease_seconds))
        passwords = Passwords()
        self._key_ring = KeyRing(self._database, settings.mesh_secret, settings.issuer)
        self._principals = Principals(self._database, self._key_ring)
        self._sign_ins = SignIns(self._database, passwords, self._key_ring)
        self._identity_servicer = IdentityServicer(
            self._principals,
            self._sign_ins,
            self._key_ring,
            KeyRepository(self._database),
            UserRepository(self._database, passwords),
        )
        self._hub = EventHub()
        self._wakeups = Wakeups(settings.database_url, self._on_wakeup)
        self._dispatcher = Dispatcher(self._claim)
        self._runs_servicer = RunStoreServicer(
            self._runs, self._hub, self._dispatcher, self._wakeups
        )
        objects = Objects(settings.object_store_url)
        self._files_servicer = FileServicer(FileRepository(self._database), objects, self._runs)
        keep = timedelta(days=settings.retention_days) if settings.retention_days else None
        self._retention = Retention(self._database, objects, keep)
        self._server = GrpcServer(self._authenticate)
        self.port = 0

    async def start(self) -> None:
        """Migrate, make the first owner, listen. Raises CrewmeshError if it can't."""
        await asyncio.to_thread(migrate, self._settings.database_url)
        await self._database.open()
        await self._runs.ensure_event_partitions()
        if self._settings.bootstrap_api_key:
            await self._principals.bootstrap(
                self._settings.bootstrap_org,
                self._settings.bootstrap_email,
                self._settings.bootstrap_api_key,
            )
        self._server.add(
            run_store_pb2_grpc.add_RunStoreServiceServicer_to_server,
            self._runs_servicer,
            "crewmesh.v1.RunStoreService",
        )
        self._server.add(
            identity_pb2_grpc.add_IdentityServiceServicer_to_server,
            self._identity_servicer,
            "crewmesh.v1.IdentityService",
        )
        self._server.add(
            file_pb2_grpc.add_FileServiceServicer_to_server,
            self._files_servicer,
            "crewmesh.v1.FileService",
        )
        self.port = await self._server.start(self._settings.store_address)
        await self._server.set_serving(True)

    async def serve(self, stop: asyncio.Event) -> None:
        """Do what has to be done in the background until `stop` is set."""
        background = [
            asyncio.create_task(self._wakeups.run()),
            asyncio.create_task(self._dispatcher.run()),
            asyncio.create_task(expire(self._runs, self._runs_servicer.run_moved)),
            asyncio.create_task(make_partitions(self._runs)),
            asyncio.create_task(self._retention.run()),
            asyncio.create_task(keep_keys_fresh(self._key_ring, self._sign_ins)),
        ]
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopping, *background], return_when=asyncio.FIRST_COMPLETED)
        for task in [stopping, *background]:
            task.cancel()
        for task in done - {stopping}:
            task.result()

    async def stop(self) -> None:
        """Let calls under way end, then let go of Postgres."""
        await self._server.stop(_STOP_GRACE_SECONDS)
        await self._runs_servicer.stop()
        await self._database.close()

    async def _authenticate(self, metadata: Mapping[str, str]) -> Identity:
        return self._verifier.verify(metadata.get(IDENTITY_METADATA_KEY, ""))

    async def _claim(self, worker_ids: Sequence[str]) -> list[run_store_pb2.Lease]:
        leases = await self._runs.claim(worker_ids)
        for lease in leases:
            self._runs_servicer.run_moved(lease.run.id, "running")
        return leases

    def _on_wakeup(self, wakeup: Wakeup) -> None:
        self._runs_servicer.on_wakeup(wakeup)


async def run(settings: StoreSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    store = Store(settings)
    async with AsyncExitStack() as stack:
        stop = stop_requested()
        stack.push_async_callback(store.stop)
        await store.start()
        host = settings.store_address.rpartition(":")[0]
        address = f"{host}:{store.port}"
        settle_memory()
        report_ready(settings.ready_file, {"address": address})
        log.info("ready", address=address)
        await store.serve(stop)
        log.info("stopping")


def main() -> None:
    """Entry point of the process."""
    settings = StoreSettings.load()
    configure_logging("store", settings.log_level)
    try:
        uvloop.run(run(settings))
    except CrewmeshError as error:
        fail(error.message)
