"""Compose's profiles: objects in S3, and what Prometheus and a collector see of the services."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2

from tests.containers.report import Report, say
from tests.containers.stack import ROOT, Stack, described, free_port, wait_until

_PROFILES = ("s3", "observability")
_DASHBOARDS = ROOT / "deploy" / "helm" / "crewmesh" / "files" / "dashboards"
_BOOKS = ROOT / "docs" / "crews" / "samples" / "books.csv"
# Prometheus looks every 15 s.
_SCRAPE_SECONDS = 60
_SPANS = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:4318/spans').read().decode())"
)


def stack(engine: str, compose: str, directory: Path) -> Stack:
    """Return a stack with all profiles, as far as their images are here."""
    return Stack(
        engine,
        compose,
        directory,
        profiles=_PROFILES,
        settings={
            "CREWMESH_OBJECT_STORE_URL": "s3://crewmesh",
            "CREWMESH_OTLP_ENDPOINT": "http://otel-collector:4318",
            "PROMETHEUS_PORT": str(free_port()),
            "JAEGER_PORT": str(free_port()),
            "GRAFANA_PORT": str(free_port()),
        },
    )


def look(stack: Stack, report: Report) -> None:
    """Check what each profile is for; say what couldn't be tried for want of an image."""
    here = set(stack.services(of_profiles=True))
    for name, service in described().items():
        if name not in here:
            say(f"      not tried: {name}, whose image {service['image']} isn't on this machine")
    with _client(stack) as client:
        body = {"crew": "hello", "inputs": {"topic": "profiles"}}
        run = client.post("/v1/runs", params={"wait": 60}, json=body).raise_for_status().json()
        report.check(run["status"] == "succeeded", f"a run: {run['status']}")
    if "s3" in here:
        look_at_objects(stack, report)
    if "otel-collector" in here:
        look_at_traces(stack, here, report)
    if "prometheus" in here:
        look_at_metrics(stack, report)


def look_at_objects(stack: Stack, report: Report) -> None:
    """A dataset and what a run makes of it are in S3, and come back from there."""
    say("objects in S3:")
    (server,) = stack.containers("s3")
    wait_until(lambda: stack.healthy(server), 60, "the S3 server is healthy")
    with _client(stack) as client:
        files = {"file": (_BOOKS.name, _BOOKS.read_bytes(), "text/csv")}
        dataset = client.post("/v1/datasets", files=files).raise_for_status().json()
        back = client.get(f"/v1/datasets/{dataset['id']}/content").raise_for_status().content
        report.check(back == _BOOKS.read_bytes(), "a dataset comes back as it was")
        body = {
            "crew": "data-analyst",
            "inputs": {"data": dataset["id"], "question": "Which rating is the most common?"},
        }
        run = client.post("/v1/runs", params={"wait": 60}, json=body).raise_for_status().json()
        report.check(run["status"] == "succeeded", f"a run works on it: {run['status']}")
        artifacts = client.get(f"/v1/runs/{run['id']}/artifacts").raise_for_status().json()["items"]
        sizes = {
            made["name"]: len(client.get(f"/v1/artifacts/{made['id']}").raise_for_status().content)
            for made in artifacts
        }
        wanted = {made["name"]: made["size_bytes"] for made in artifacts}
        report.check(bool(sizes) and sizes == wanted, f"what it made comes back: {sorted(sizes)}")
    found = stack.execute("store", "find", "/var/lib/crewmesh", "-type", "f").stdout.split()
    report.check(not found, "nothing of it is in the store's volume")


def look_at_traces(stack: Stack, here: set[str], report: Report) -> None:
    """One trace has spans of all three services."""
    say("traces:")

    read = _traces_of_jaeger if "jaeger" in here else _traces_of_stand_in

    def services() -> set[str]:
        return max(read(stack), key=len, default=set())

    wait_until(lambda: len(services()) == 3, _SCRAPE_SECONDS, "a trace of all three services")
    report.check(True, f"a trace has spans of {', '.join(sorted(services()))}")


def _traces_of_jaeger(stack: Stack) -> list[set[str]]:
    """Return the services of each trace that Jaeger has of the gateway."""
    answer = httpx2.get(
        f"http://127.0.0.1:{stack.settings['JAEGER_PORT']}/api/traces",
        params={"service": "crewmesh-api_gateway", "limit": "100"},
        timeout=30,
        trust_env=False,
    )
    traces = answer.raise_for_status().json()["data"]
    return [{of["serviceName"] for of in trace["processes"].values()} for trace in traces]


def _traces_of_stand_in(stack: Stack) -> list[set[str]]:
    """Return the services of each trace that the stand-in for the collector has taken."""
    spans = json.loads(stack.execute("otel-collector", "python", "-c", _SPANS).stdout or "[]")
    traces: dict[str, set[str]] = {}
    for service, _, trace_id in spans:
        traces.setdefault(trace_id, set()).add(service)
    return list(traces.values())


def look_at_metrics(stack: Stack, report: Report) -> None:
    """Prometheus finds every replica, takes the alerts, and answers what the dashboards ask."""
    say("metrics:")
    url = f"http://127.0.0.1:{stack.settings['PROMETHEUS_PORT']}"
    with httpx2.Client(base_url=url, timeout=30, trust_env=False) as prometheus:

        def ask(path: str, **params: str) -> Any:
            return prometheus.get(f"/api/v1/{path}", params=params).json()

        def up() -> set[str]:
            targets = ask("targets")["data"]["activeTargets"]
            return {of["labels"]["job"] for of in targets if of["health"] == "up"}

        wanted = {"api-gateway", "agent-worker", "store"}
        wait_until(lambda: up() == wanted, _SCRAPE_SECONDS, "Prometheus reads all services")
        report.check(True, f"Prometheus reads {', '.join(sorted(up()))}")
        rules = [rule for group in ask("rules")["data"]["groups"] for rule in group["rules"]]
        bad = [rule["name"] for rule in rules if rule.get("lastError")]
        report.check(bool(rules) and not bad, f"{len(rules)} alerts are evaluated {bad or ''}")
        asked = [
            re.sub(r"\$__(rate_interval|range)", "5m", target["expr"])
            for path in _DASHBOARDS.glob("*.json")
            for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
            for target in panel.get("targets", ())
        ]
        refused = [query for query in asked if ask("query", query=query)["status"] != "success"]
        report.check(
            not refused, f"{len(asked)} questions of the dashboards are answered {refused}"
        )

        def ended() -> bool:
            return bool(
                ask("query", query="sum(crewmesh_store_runs_ended_total) > 0")["data"]["result"]
            )

        wait_until(ended, _SCRAPE_SECONDS, "Prometheus counts the run")
        report.check(True, "the run is counted")


def _client(stack: Stack) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    return httpx2.Client(base_url=stack.url, headers=headers, timeout=90, trust_env=False)
