"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from crewmesh.common.metrics import DURATION_BUCKETS, make_registry

# What stands for the method of a web socket, whose handshake has none of its own here.
WEB_SOCKET = "WEBSOCKET"


class Metrics:
    """One gateway's counters, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = make_registry()
        self._requests = Counter(
            "crewmesh_gateway_requests",
            "Answered requests.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._durations = Histogram(
            "crewmesh_gateway_request_duration_seconds",
            "Time from a request's head to its answer's last byte.",
            ["method", "route"],
            registry=self.registry,
            buckets=DURATION_BUCKETS,
        )
        self.open_streams = Gauge(
            "crewmesh_gateway_event_streams_open",
            "Event streams (SSE) that are open now.",
            registry=self.registry,
        )

        self.open_sockets = Gauge(
            "crewmesh_gateway_web_sockets_open",
            "Web sockets that are open now.",
            registry=self.registry,
        )
        self.open_subscriptions = Gauge(
            "crewmesh_gateway_subscriptions_open",
            "GraphQL subscriptions to runs' events that are open now.",
            registry=self.registry,
        )

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is the path's template."""
        self._requests.labels(method, route, str(status)).inc()
        self._durations.labels(method, route).observe(seconds)

    def count_socket(self, route: str, status: int) -> None:
        """Count one web socket; how long it was open tells nothing of how fast we are."""
        self._requests.labels(WEB_SOCKET, route, str(status)).inc()
