"""What services count, and where Prometheus reads it.

Labels take few values only: methods and outcomes, never a tenant, a run or what a client has
made up.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from crewmesh.common.errors import InvalidInputError

# Seconds. What is fast takes milliseconds here, what waits for people or models, minutes.
DURATION_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 60),
)


def make_registry() -> CollectorRegistry:
    """Return a registry of one service's own, with its process's memory, time and files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class CallMetrics:
    """The calls that a gRPC server has answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._handled = Counter(
            "crewmesh_grpc_server_handled",
            "Calls that have ended, by the status that they ended with.",
            ["method", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "crewmesh_grpc_server_handling_seconds",
            "Time from a call's start to its end; streams, which last as long as they are "
            "watched, are left out.",
            ["method"],
            registry=registry,
            buckets=DURATION_BUCKETS,
        )

    def ended(self, method: str, code: str, seconds: float | None) -> None:
        """Count a call of `/package.Service/Method`; `seconds` is None for a stream."""
        name = method.rpartition(".")[2]
        self._handled.labels(name, code).inc()
        if seconds is not None:
            self._seconds.labels(name).observe(seconds)


class MetricsServer:
    """Serves a registry at /metrics, on a port of its own that only Prometheus has to reach."""

    def __init__(self, registry: CollectorRegistry, address: str) -> None:
        """Take "host:port"; port 0 picks a free one, and an empty address serves nowhere."""
        self._registry = registry
        self._address = address
        self.address = ""

    def start(self) -> None:
        """Listen; `address` says where. Raises InvalidInputError where that can't be."""
        if not self._address:
            return
        host, _, port = self._address.rpartition(":")
        try:
            self._server, self._thread = start_http_server(
                int(port), host.strip("[]"), registry=self._registry
            )
        except (OSError, ValueError, OverflowError) as error:
            raise InvalidInputError(
                f"can't serve metrics on {self._address!r}: {error}; see CREWMESH_METRICS_ADDRESS"
            ) from error
        self.address = f"{host}:{self._server.server_port}"

    def stop(self) -> None:
        """Stop listening."""
        if self.address:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self.address = ""
