"""What a replica of the store counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from crewmesh.common.metrics import DURATION_BUCKETS, CallMetrics, make_registry
from crewmesh.v1 import run_pb2, run_store_pb2
from crewmesh_store.database import Database, load_statements
from crewmesh_store.runs.messages import TERMINAL_STATUSES, status_name
from crewmesh_store.scaling.demand import read_demand

SQL = load_statements("metrics")

_OPEN_STATUSES: Final = ("queued", "running", "waiting")
_END_STATUSES: Final = ("succeeded", "failed", "cancelled", "timed_out")


class StoreMetrics:
    """One replica's counters, in a registry of its own.

    Gauges of the queue come from the database, so all replicas say the same: take their maximum.
    What is counted, each replica counts of its own doing: take the sum.
    """

    def __init__(self) -> None:
        registry = self.registry = make_registry()
        self.calls = CallMetrics(registry)
        self._runs = Gauge(
            "crewmesh_store_runs", "Runs that haven't ended.", ["status"], registry=registry
        )
        self._oldest = Gauge(
            "crewmesh_store_queue_oldest_seconds",
            "How long the oldest run that a worker could begin has been due.",
            registry=registry,
        )
        self._startable = Gauge(
            "crewmesh_store_queue_startable",
            "Queued runs that a worker with a free slot could begin now.",
            registry=registry,
        )
        self._looked = Gauge(
            "crewmesh_store_queue_looked_at_timestamp_seconds",
            "When this replica last read the gauges of the queue from the database.",
            registry=registry,
        )
        self._ended = Counter(
            "crewmesh_store_runs_ended", "Runs that have ended.", ["status"], registry=registry
        )
        self.created = Counter(
            "crewmesh_store_runs_created", "Runs that were accepted.", registry=registry
        )
        self._recoveries = Counter(
            "crewmesh_store_recoveries",
            "Attempts that were lost or handed back, after which the run went back to the queue "
            "(or ended, its attempts being used up).",
            ["cause"],
            registry=registry,
        )
        self.leases = Counter(
            "crewmesh_store_leases_granted", "Leases given to workers.", registry=registry
        )
        self._appended = Counter(
            "crewmesh_store_events_appended", "Events stored.", registry=registry
        )
        self._lag = Histogram(
            "crewmesh_store_event_delivery_lag_seconds",
            "From an event's making in a worker to its being sent to a live watcher, by the two "
            "machines' clocks; the newest of each batch.",
            registry=registry,
            buckets=DURATION_BUCKETS,
        )
        self.watchers = Gauge(
            "crewmesh_store_watchers", "Streams of events that are open.", registry=registry
        )
        self.workers = Gauge(
            "crewmesh_store_workers_attached", "Workers attached here.", registry=registry
        )
        self._connections = Gauge(
            "crewmesh_store_database_connections",
            "Connections to Postgres that are open.",
            registry=registry,
        )
        self._waiting = Gauge(
            "crewmesh_store_database_requests_waiting",
            "Statements that wait for a connection to Postgres.",
            registry=registry,
        )
        # So that a rate is there from the first of each on.
        for status in _END_STATUSES:
            self._ended.labels(status)
        for cause in ("worker_lost", "lease_expired", "attempt_failed", "handed_back"):
            self._recoveries.labels(cause)

    def watch(self, database: Database) -> None:
        """Have the gauges of the connections read from this database's pool when asked for."""
        self._connections.set_function(lambda: database.statistics().get("pool_size", 0))
        self._waiting.set_function(lambda: database.statistics().get("requests_waiting", 0))

    def ended(self, status: str) -> None:
        """Count the end of a run, if `status` is one."""
        if status in _END_STATUSES:
            self._ended.labels(status).inc()

    def recovered(self, cause: str) -> None:
        """Count an attempt that was lost: `worker_lost` or `lease_expired`."""
        self._recoveries.labels(cause).inc()

    def stored(self, append: run_store_pb2.Append, *, cancelled: bool) -> None:
        """Count what an append has stored; `cancelled` is for a run that ended so instead."""
        self._appended.inc(len(append.events))
        if not append.HasField("transition"):
            return
        if cancelled:
            self.ended("cancelled")
            return
        change = append.transition
        if change.status in TERMINAL_STATUSES:
            self.ended(status_name(change.status) or "")
            if change.error.code == "attempts_exhausted":
                self.recovered("attempt_failed")
        elif change.status == run_pb2.RUN_STATUS_QUEUED:
            self.recovered("attempt_failed" if change.HasField("error") else "handed_back")

    def delivered(self, events: Sequence[run_pb2.RunEvent], now: float) -> None:
        """Measure how long live events were under way; `now` is time.time()."""
        at = events[-1].at
        self._lag.observe(max(0.0, now - at.seconds - at.nanos / 1e9))

    async def look(self, database: Database) -> None:
        """Read the gauges of the queue."""
        row = await database.fetch_one(SQL["read_backlog"])
        assert row is not None
        demand = await read_demand(database)
        for status in _OPEN_STATUSES:
            self._runs.labels(status).set(row[status])
        self._oldest.set(demand.oldest_seconds)
        self._startable.set(demand.startable)
        self._looked.set_to_current_time()
