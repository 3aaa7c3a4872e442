"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector


class Metrics:
    """One gateway's counters, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
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
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
        )
        self.open_streams = Gauge(
            "crewmesh_gateway_event_streams_open",
            "Event streams (SSE) that are open now.",
            registry=self.registry,
        )

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is the path's template."""
        self._requests.labels(method, route, str(status)).inc()
        self._durations.labels(method, route).observe(seconds)
