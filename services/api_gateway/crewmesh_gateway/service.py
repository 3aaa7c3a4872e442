"""How the gateway starts, serves and stops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from importlib.metadata import version

import structlog
import uvicorn
import uvloop

from crewmesh.common.errors import InvalidInputError
from crewmesh.common.lifecycle import fail, report_ready, settle_memory, stop_requested
from crewmesh.common.logging import start_logging
from crewmesh.common.metrics import MetricsServer
from crewmesh.common.tracing import configure_tracing, stop_tracing
from crewmesh_gateway.app import create_app
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.mesh import Mesh
from crewmesh_gateway.oidc.provider import OidcProvider
from crewmesh_gateway.protocol import BoundedProtocol
from crewmesh_gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)

_BACKLOG = 2048


async def run(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT; then let requests end, for `drain_seconds` at most."""
    stop = stop_requested()
    configure_tracing("api_gateway", version("crewmesh-gateway"), settings.otlp_endpoint)
    listener = listen(settings.host, settings.port)
    mesh = Mesh(settings.worker_target, settings.store_target, settings.mesh_secret, settings.tls())
    configured = settings.oidc()
    provider = OidcProvider(configured) if configured is not None else None
    gateway = Gateway(
        mesh,
        mesh_secret=settings.mesh_secret,
        max_body_bytes=settings.max_body_kb * 1024,
        max_upload_bytes=settings.max_upload_mb * 1024 * 1024,
        requests_per_minute=settings.requests_per_minute,
        address_requests_per_minute=settings.address_requests_per_minute,
        oidc=provider,
        graphql=settings.graphql(),
        publishes_metrics=not settings.metrics_address,
    )
    try:
        await GatewayServer(gateway, settings, stop).serve([listener])
    finally:
        if provider is not None:
            await provider.close()
        await gateway.limiter.close()
        await mesh.close()
        await stop_tracing()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; end the process with one line if that can't be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        fail(f"can't listen on {host}, port {port}: {error.strerror}; see CREWMESH_PORT")
    # Whoever is accepted inherits it: no body waits 40 ms for a client to acknowledge its headers.
    # uvloop sets it by itself; asyncio, only where a socket says that its protocol is TCP.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class GatewayServer(uvicorn.Server):
    """uvicorn, stopped by an event instead of by signal handlers of its own."""

    def __init__(self, gateway: Gateway, settings: GatewaySettings, stop: asyncio.Event) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(gateway),
                http=BoundedProtocol,
                ws="websockets-sansio",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=[p.strip() for p in settings.trusted_proxies.split(",")],
                backlog=_BACKLOG,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=settings.drain_seconds,
            )
        )
        self._gateway = gateway
        self._settings = settings
        self._stop = stop
        self._metrics = MetricsServer(gateway.metrics.registry, settings.metrics_address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would end the process by one after a clean stop."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say where."""
        try:
            self._metrics.start()
        except InvalidInputError as error:
            fail(str(error))
        await super().startup(sockets)
        assert sockets is not None
        url = _url(self._settings.host, sockets[0].getsockname()[1])
        settle_memory()
        report_ready(self._settings.ready_file, {"url": url, "metrics": self._metrics.address})
        log.info("ready", url=url)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop."""
        return await super().on_tick(counter) or self._stop.is_set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end the event streams, and let everything else finish."""
        log.info("stopping")
        self._gateway.draining.set()
        await super().shutdown(sockets)
        await asyncio.to_thread(self._metrics.stop)


def _url(host: str, port: int) -> str:
    """Return where this machine reaches what listens on `host`."""
    if host == "0.0.0.0":  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    elif ":" in host:
        host = "[::1]" if host == "::" else f"[{host}]"
    return f"http://{host}:{port}"


def main() -> None:
    """Entry point of the process."""
    settings = GatewaySettings.load()
    start_logging("api_gateway", settings)
    uvloop.run(run(settings))
