"""Writes the Grafana dashboards: `python deploy/observability/make_dashboards.py`.

A dashboard's JSON is long and says little; what is in them is said here. A test holds them to be
up to date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parents[1] / "helm" / "crewmesh" / "files" / "dashboards"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 24, 8


def _p(quantile: float, histogram: str, by: str = "", where: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    rate = f"rate({histogram}_bucket{where}[$__rate_interval])"
    return f"histogram_quantile({quantile}, sum by ({labels}) ({rate}))"


def _rate(counter: str, by: str = "") -> str:
    return f"sum by ({by}) (rate({counter}[$__rate_interval]))"


# Title, unit, what it tells, and its queries with their legends.
Panel = tuple[str, str, str, list[tuple[str, str]]]
# Title, and panels three a line.
Row = tuple[str, list[Panel]]

SERVICE: list[Row] = [
    (
        "Requests",
        [
            ("REST requests", "reqps", "By status.",
             [(_rate("crewmesh_gateway_requests_total", "status"), "{{status}}")]),
            ("REST duration", "s",
             "Event streams are left out; ?wait= is not.",
             [(_p(q, "crewmesh_gateway_request_duration_seconds", where='{route!~".*events"}'),
               f"p{q * 100:g}") for q in (0.5, 0.99)]),
            ("Open event streams", "none", "SSE and GraphQL at the gateways, and streams at the stores.",
             [("sum(crewmesh_gateway_event_streams_open)", "SSE"),
              ("sum(crewmesh_gateway_subscriptions_open)", "GraphQL"),
              ("sum(crewmesh_store_watchers)", "store")]),
            ("gRPC calls", "reqps", "By service and status.",
             [(_rate("crewmesh_grpc_server_handled_total", "job, code"), "{{job}} {{code}}")]),
            ("gRPC errors", "reqps", "What isn't OK, by method.",
             [(_rate('crewmesh_grpc_server_handled_total{code!~"OK|CANCELLED"}', "method, code"),
               "{{method}} {{code}}")]),
            ("gRPC duration, p99", "s", "The five slowest methods; streams are left out.",
             [(f"topk(5, {_p(0.99, 'crewmesh_grpc_server_handling_seconds', 'method')})",
               "{{method}}")]),
        ],
    ),
    (
        "Queue and workers",
        [
            ("Runs that haven't ended", "none", "All replicas of the store say the same.",
             [("max by (status) (crewmesh_store_runs)", "{{status}}"),
              ("max(crewmesh_store_queue_startable)", "startable")]),
            ("Oldest run that could start", "s", "How long it has been due.",
             [("max(crewmesh_store_queue_oldest_seconds)", "oldest")]),
            ("Slots", "none", "Of all workers.",
             [("sum(crewmesh_worker_slots)", "slots"),
              ("sum(crewmesh_worker_slots_taken)", "taken"),
              ("sum(crewmesh_worker_leases_held)", "leases held"),
              ("sum(crewmesh_worker_attached)", "workers attached")]),
            ("Leases granted", "ops", "Runs given to workers.",
             [(_rate("crewmesh_store_leases_granted_total"), "leases")]),
            ("Attempts lost or handed back", "ops",
             "Handed back: a worker drained. The others are faults.",
             [(_rate("crewmesh_store_recoveries_total", "cause"), "{{cause}}")]),
            ("Workers at each store", "none", "Attached by a stream.",
             [("crewmesh_store_workers_attached", "{{instance}}")]),
        ],
    ),
    (
        "Log and database",
        [
            ("Events", "ops", "Stored, and acknowledged to workers.",
             [(_rate("crewmesh_store_events_appended_total"), "stored"),
              (_rate("crewmesh_worker_events_total"), "acknowledged")]),
            ("Event lag", "s", "From an event's making to its being stored, and to a live watcher.",
             [(_p(0.99, "crewmesh_worker_event_append_lag_seconds"), "stored, p99"),
              (_p(0.5, "crewmesh_worker_event_append_lag_seconds"), "stored, p50"),
              (_p(0.99, "crewmesh_store_event_delivery_lag_seconds"), "delivered, p99")]),
            ("Connections to Postgres", "none", "Open, and statements that wait for one.",
             [("sum(crewmesh_store_database_connections)", "open"),
              ("sum(crewmesh_store_database_requests_waiting)", "waiting")]),
            ("Memory", "bytes", "Resident, of the services' own processes (no runners).",
             [("process_resident_memory_bytes{job=~'.*(api-gateway|agent-worker|store).*'}",
               "{{job}} {{instance}}")]),
            ("CPU", "percentunit", "Of the services' own processes (no runners).",
             [(("rate(process_cpu_seconds_total{job=~'.*(api-gateway|agent-worker|store).*'}"
               "[$__rate_interval])"), "{{job}} {{instance}}")]),
        ],
    ),
]  # fmt: skip

RUNS: list[Row] = [
    (
        "Runs",
        [
            ("Accepted", "ops", "Runs a second.",
             [(_rate("crewmesh_store_runs_created_total"), "accepted")]),
            ("Ended", "ops", "Runs a second, by how.",
             [(_rate("crewmesh_store_runs_ended_total", "status"), "{{status}}")]),
            ("Share that failed or timed out", "percentunit", "Of those that ended.",
             [(_rate('crewmesh_store_runs_ended_total{status=~"failed|timed_out"}')
               + " / " + _rate("crewmesh_store_runs_ended_total"), "failed")]),
            ("Attempts", "ops", "By how they ended; a run may take several.",
             [(_rate("crewmesh_worker_attempts_total", "outcome"), "{{outcome}}")]),
            ("Duration of attempts", "s", "Of those that succeeded.",
             [(_p(q, "crewmesh_worker_attempt_duration_seconds",
                  where='{outcome="succeeded"}'), f"p{q * 100:g}")
              for q in (0.5, 0.9, 0.99)]),
        ],
    ),
    (
        "Models",
        [
            ("Calls", "ops", "Answered, by provider.",
             [(_rate("crewmesh_worker_model_calls_total", "provider"), "{{provider}}")]),
            ("Tokens", "none", "A second, read (input) and written (output).",
             [(_rate("crewmesh_worker_tokens_total", "provider, direction"),
               "{{provider}} {{direction}}")]),
            ("Cost of an hour", "currencyUSD", "At the current rate.",
             [(f"3600 * {_rate('crewmesh_worker_cost_usd_total', 'provider')}", "{{provider}}")]),
            ("Cost in the range shown", "currencyUSD", "By provider.",
             [("sum by (provider) (increase(crewmesh_worker_cost_usd_total[$__range]))",
               "{{provider}}")]),
            ("Calls without a known price", "ops", "They are in no cost.",
             [(_rate("crewmesh_worker_unpriced_model_calls_total", "provider"), "{{provider}}")]),
        ],
    ),
]  # fmt: skip


def dashboard(uid: str, title: str, rows: list[Row]) -> dict[str, Any]:
    """Return a dashboard in Grafana's JSON."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row_title, row in rows:
        place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
        panels.append({"type": "row", "title": row_title, "gridPos": place, "panels": []})
        top += 1
        for number, panel in enumerate(row):
            place = {
                "x": number % 3 * (_WIDTH // 3),
                "y": top + number // 3 * _HEIGHT,
                "w": _WIDTH // 3,
                "h": _HEIGHT,
            }
            panels.append(_panel(panel, place))
        top += -(-len(row) // 3) * _HEIGHT
    for number, made in enumerate(panels, 1):
        made["id"] = number
    return {
        "uid": uid,
        "title": title,
        "tags": ["crewmesh"],
        "schemaVersion": 41,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "current": {}}
            ]
        },
        "panels": panels,
    }


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    title, unit, description, queries = panel
    return {
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 8}},
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi"},
        },
        "targets": [
            {
                "refId": chr(65 + number),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
            }
            for number, (query, legend) in enumerate(queries)
        ],
    }


def files() -> dict[Path, str]:
    """Return what each file holds."""
    made = {
        "crewmesh-service.json": dashboard("crewmesh-service", "Crewmesh: the service", SERVICE),
        "crewmesh-runs.json": dashboard("crewmesh-runs", "Crewmesh: runs and models", RUNS),
    }
    return {DIRECTORY / name: json.dumps(what, indent=1) + "\n" for name, what in made.items()}


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.name}\n")


if __name__ == "__main__":
    main()
