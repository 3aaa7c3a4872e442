"""How the store starts, serves and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import structlog
import uvloop

from crewmesh.common.errors import CrewmeshError, UnavailableError
from crewmesh.common.grpc_server import GrpcServer
from crewmesh.common.identity import IDENTITY_METADATA_KEY, Identity, IdentityVerifier
from crewmesh.common.lifecycle import (
    fail,
    report_ready,
    settle_memory,
    stop_requested,
    until_stopped,
)
from crewmesh.common.logging import start_logging
from crewmesh.common.mesh_tls import GATEWAY, WORKER
from crewmesh.common.metrics import MetricsServer
from crewmesh.common.tracing import configure_tracing, stop_tracing
from crewmesh.v1 import (
    audit_pb2_grpc,
    budget_pb2_grpc,
    crew_store_pb2_grpc,
    delivery_pb2_grpc,
    file_pb2_grpc,
    identity_pb2_grpc,
    limit_pb2_grpc,
    run_store_pb2,
    run_store_pb2_grpc,
    session_store_pb2_grpc,
    tenant_pb2_grpc,
)
from crewmesh_store.audit.repository import AuditRepository
from crewmesh_store.audit.servicer import AuditServicer
from crewmesh_store.budgets.repository import BudgetRepository
from crewmesh_store.budgets.servicer import BudgetServicer
from crewmesh_store.crews.repository import CrewRepository
from crewmesh_store.crews.servicer import CrewStoreServicer
from crewmesh_store.database import Database
from crewmesh_store.deliveries.repository import DeliveryRepository
from crewmesh_store.deliveries.servicer import DeliveryServicer
from crewmesh_store.files.objects import Objects
from crewmesh_store.files.repository import FileRepository
from crewmesh_store.files.servicer import FileServicer
from crewmesh_store.identity.external import ExternalSignIns
from crewmesh_store.identity.keys import KeyRepository
from crewmesh_store.identity.passwords import Passwords
from crewmesh_store.identity.principals import Principals
from crewmesh_store.identity.servicer import IdentityServicer
from crewmesh_store.identity.sign_ins import SignIns
from crewmesh_store.identity.signing import KeyRing, vault_of_signing_keys
from crewmesh_store.identity.users import UserRepository
from crewmesh_store.limits.repository import LimitRepository
from crewmesh_store.limits.servicer import LimitServicer
from crewmesh_store.metrics import StoreMetrics
from crewmesh_store.migrations import migrate
from crewmesh_store.runs.dispatch import Dispatcher
from crewmesh_store.runs.follower import Follower
from crewmesh_store.runs.hub import EventHub
from crewmesh_store.runs.repository import RunRepository
from crewmesh_store.runs.retention import Retention
from crewmesh_store.runs.servicer import RunStoreServicer
from crewmesh_store.runs.wakeups import Wakeup, Wakeups
from crewmesh_store.scaling.server import make_scaler_server
from crewmesh_store.sessions.repository import SessionRepository
from crewmesh_store.sessions.servicer import SessionStoreServicer
from crewmesh_store.settings import StoreSettings
from crewmesh_store.tenants.repository import TenantRepository
from crewmesh_store.tenants.servicer import TenantServicer
from crewmesh_store.tenants.vault import Vault
from crewmesh_store.upkeep import repeat

log = structlog.get_logger(__name__)

_STOP_GRACE_SECONDS = 5.0
# Between looks for a Postgres that isn't there when the store starts.
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
# Between the rounds of what is done from time to time.
_EXPIRY_SECONDS = 1.0
_LOOK_SECONDS = 5.0
_MINUTE = 60.0
_HOUR = 3600.0


class Store:
    """The service, put together."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._database = Database(settings.database_url, settings.database_connections)
        self._verifier = IdentityVerifier(settings.mesh_secret)
        vault = Vault(settings.secrets_key)
        lease_ttl = timedelta(seconds=settings.lease_seconds)
        self._runs = RunRepository(self._database, lease_ttl, vault)
        self._budgets = BudgetRepository(self._database)
        self._tenants = TenantRepository(self._database, vault)
        passwords = Passwords()
        self._key_ring = KeyRing(
            self._database,
            vault_of_signing_keys(settings.secrets_key, settings.mesh_secret),
            settings.issuer,
        )
        self._principals = Principals(self._database, self._key_ring)
        self._sign_ins = SignIns(self._database, passwords, self._key_ring)
        self._identity_servicer = IdentityServicer(
            self._principals,
            self._sign_ins,
            self._key_ring,
            KeyRepository(self._database),
            UserRepository(self._database, passwords),
            ExternalSignIns(self._database, self._sign_ins),
        )
        self._hub = EventHub()
        self._follower = Follower(self._runs, self._hub)
        self._wakeups = Wakeups(settings.database_url, self._on_wakeup)
        self._dispatcher = Dispatcher(self._claim, self._hand_back)
        self._metrics = StoreMetrics()
        self._metrics.watch(self._database)
        self._metrics_server = MetricsServer(self._metrics.registry, settings.metrics_address)
        self._runs_servicer = RunStoreServicer(
            self._runs, self._hub, self._follower, self._dispatcher, self._wakeups, self._metrics
        )
        first_pause = timedelta(seconds=settings.webhook_retry_seconds)
        self._deliveries = DeliveryRepository(self._database, first_pause, vault)
        self._limits = LimitRepository(self._database)
        self._limits_servicer = LimitServicer(self._limits, self._runs_servicer.announce_queued)
        self._sessions_servicer = SessionStoreServicer(
            SessionRepository(self._database), self._runs_servicer.cancel
        )
        objects = Objects(settings.object_store_url, settings.s3())
        self._files_servicer = FileServicer(FileRepository(self._database), objects, self._runs)
        keep = timedelta(days=settings.retention_days) if settings.retention_days else None
        self._retention = Retention(self._database, objects, keep)
        self._server = GrpcServer(
            self._authenticate,
            tls=settings.tls(),
            peers=(WORKER, GATEWAY),
            calls=self._metrics.calls,
        )
        self._scaler = make_scaler_server(settings, self._database)
        self._ready = False
        self.port = 0

    @property
    def scaler_port(self) -> int:
        """Return where KEDA asks; 0 when nothing listens there."""
        return self._scaler.port if self._scaler is not None else 0

    @property
    def metrics_address(self) -> str:
        """Return where Prometheus reads; empty when nothing listens there."""
        return self._metrics_server.address

    async def start(self) -> None:
        """Listen, and serve once the database is there and as it has to be.

        Until then health says NOT_SERVING, however long it takes. Raises CrewmeshError if
        waiting is of no use.
        """
        self._register()
        self._metrics_server.start()
        self.port = await self._server.start(self._settings.store_address)
        await self._wait_for_database()
        if self._scaler is not None:
            await self._scaler.start()
        self._ready = True
        await self._server.set_serving(True)

    async def _wait_for_database(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._prepare_database()
                return
            except UnavailableError as error:
                log.warning("waiting for Postgres", reason=error.message, again_in_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _prepare_database(self) -> None:
        """Migrate and make the first owner; done twice, it does no harm."""
        await asyncio.to_thread(migrate, self._settings.database_url)
        await self._database.open()
        await self._runs.ensure_event_partitions()
        await self._deliveries.seal_all()
        if self._settings.bootstrap_api_key:
            await self._principals.bootstrap(
                self._settings.bootstrap_org,
                self._settings.bootstrap_email,
                self._settings.bootstrap_api_key,
            )

    def _register(self) -> None:
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
            limit_pb2_grpc.add_LimitServiceServicer_to_server,
            self._limits_servicer,
            "crewmesh.v1.LimitService",
        )
        self._server.add(
            file_pb2_grpc.add_FileServiceServicer_to_server,
            self._files_servicer,
            "crewmesh.v1.FileService",
        )
        self._server.add(
            crew_store_pb2_grpc.add_CrewStoreServiceServicer_to_server,
            CrewStoreServicer(CrewRepository(self._database)),
            "crewmesh.v1.CrewStoreService",
        )
        self._server.add(
            budget_pb2_grpc.add_BudgetServiceServicer_to_server,
            BudgetServicer(self._budgets),
            "crewmesh.v1.BudgetService",
        )
        self._server.add(
            tenant_pb2_grpc.add_TenantServiceServicer_to_server,
            TenantServicer(self._tenants),
            "crewmesh.v1.TenantService",
        )
        self._server.add(
            session_store_pb2_grpc.add_SessionStoreServiceServicer_to_server,
            self._sessions_servicer,
            "crewmesh.v1.SessionStoreService",
        )
        self._server.add(
            delivery_pb2_grpc.add_DeliveryServiceServicer_to_server,
            DeliveryServicer(self._deliveries, self._runs),
            "crewmesh.v1.DeliveryService",
        )
        self._server.add(
            audit_pb2_grpc.add_AuditServiceServicer_to_server,
            AuditServicer(AuditRepository(self._database)),
            "crewmesh.v1.AuditService",
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Do what has to be done in the background until `stop` is set."""
        background = [
            asyncio.create_task(self._wakeups.run()),
            asyncio.create_task(self._follower.run()),
            asyncio.create_task(self._dispatcher.run()),
            *(asyncio.create_task(work) for work in self._upkeep()),
        ]
        try:
            await until_stopped(stop, background)
        finally:
            for task in background:
                task.cancel()

    def _upkeep(self) -> Iterator[Coroutine[Any, Any, None]]:
        # Whom an outage of ours has kept from renewing a lease may do so before it is taken.
        yield repeat(self._runs_servicer.expire, _EXPIRY_SECONDS, pause_first=True)
        yield repeat(self._budgets.charge_lost, _EXPIRY_SECONDS, pause_first=True)
        yield repeat(self._retention.forget, _MINUTE)
        yield repeat(self._limits.forget_request_counts, _MINUTE, pause_first=True)
        # The start has made those that are needed now.
        yield repeat(self._runs.ensure_event_partitions, _HOUR, pause_first=True)
        yield repeat(self._key_ring.rotate, _HOUR)
        yield repeat(self._sign_ins.forget_old, _HOUR)
        if self.metrics_address:
            yield repeat(self._look_at_queue, _LOOK_SECONDS)

    async def _look_at_queue(self) -> None:
        await self._metrics.look(self._database)

    async def stop(self) -> None:
        """Let calls under way end, then let go of Postgres."""
        if self._scaler is not None:
            await self._scaler.stop()
        await self._server.stop(_STOP_GRACE_SECONDS)
        await self._runs_servicer.stop()
        await self._database.close()
        await asyncio.to_thread(self._metrics_server.stop)

    async def _authenticate(self, metadata: Mapping[str, str], _address: str) -> Identity:
        if not self._ready:
            raise UnavailableError("the store waits for Postgres", retry_after_seconds=1)
        return self._verifier.verify(metadata.get(IDENTITY_METADATA_KEY, ""))

    async def _claim(self, worker_ids: Sequence[str]) -> list[run_store_pb2.Lease]:
        leases = await self._runs.claim(worker_ids)
        self._metrics.leases.inc(len(leases))
        for lease in leases:
            self._runs_servicer.run_moved(lease.run.id, "running")
        return leases

    async def _hand_back(self, lease: run_store_pb2.Lease) -> None:
        await self._runs.hand_back(lease)
        self._metrics.recovered("handed_back")
        self._runs_servicer.run_moved(lease.run.id, "queued")

    def _on_wakeup(self, wakeup: Wakeup) -> None:
        self._runs_servicer.on_wakeup(wakeup)


async def run(settings: StoreSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_tracing("store", version("crewmesh-store"), settings.otlp_endpoint)
    store = Store(settings)
    async with AsyncExitStack() as stack:
        stop = stop_requested()
        stack.push_async_callback(stop_tracing)
        stack.push_async_callback(store.stop)
        if not await _start(store, stop):
            return
        host = settings.store_address.rpartition(":")[0]
        address = f"{host}:{store.port}"
        settle_memory()
        report_ready(settings.ready_file, {"address": address, "metrics": store.metrics_address})
        log.info("ready", address=address)
        await store.serve(stop)
        log.info("stopping")


async def _start(store: Store, stop: asyncio.Event) -> bool:
    """Start the store; return False when it is to stop before it could."""
    starting, stopping = asyncio.create_task(store.start()), asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        starting.result()
        return True
    starting.cancel()
    return False


def main() -> None:
    """Entry point of the process."""
    settings = StoreSettings.load()
    start_logging("store", settings)
    try:
        uvloop.run(run(settings))
    except CrewmeshError as error:
        fail(error.message)
