"""What an operator sees of a mesh: one trace of a run, metrics of what was done, its log."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import until
from tests.e2e.collector import Collector, Span, collecting
from tests.e2e.conftest import ROOT, Mesh, running_mesh

pytestmark = pytest.mark.long

BOOKS = ROOT / "docs" / "crews" / "samples" / "books.csv"


@dataclass
class Observed:
    """A mesh whose traces come here."""

    mesh: Mesh
    collector: Collector

    async def trace(self, crew: str, **inputs: Any) -> tuple[str, list[Span], list[Any]]:
        """Run a crew to its end as part of a trace; return its id, its spans and its events."""
        trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)
        headers = {"traceparent": f"00-{trace_id}-{parent}-01"}
        run = await self.mesh.start_run(crew, headers, **inputs)
        events = [event async for event in self.mesh.watch(run["id"])]

        async def has_come() -> bool:
            # The last attempt's span ends last; the store's may be on their way for longer.
            spans = self.collector.of_trace(trace_id)
            ended = [s.attributes.get("crewmesh.attempt.outcome") for s in spans]
            services = {span.service for span in spans}
            return events[-1]["type"] in ended and len(services) == 3

        await until(has_come)
        spans = self.collector.of_trace(trace_id)
        assert connected(spans, parent)
        return run["id"], spans, events

    async def upload(self, name: str, file: Path) -> Span:
        """Upload a dataset as a trace of its own; return the store's span of it."""
        trace_id = secrets.token_hex(16)
        headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
        form = aiohttp.FormData({"name": name})
        form.add_field("file", file.read_bytes(), filename=file.name, content_type="text/csv")
        async with self.mesh.http.post("/v1/datasets", data=form, headers=headers) as response:
            assert response.status == 201, await response.text()

        async def has_come() -> bool:
            # The client's span ends last.
            return len(self.uploads(trace_id)) == 2

        await until(has_come)
        return next(span for span in self.uploads(trace_id) if span.service == "crewmesh-store")

    def uploads(self, trace_id: str) -> list[Span]:
        """Return a trace's calls of PutDataset, of both sides."""
        spans = self.collector.of_trace(trace_id)
        return [span for span in spans if span.name == "crewmesh.v1.FileService/PutDataset"]


def connected(spans: list[Span], root: str) -> bool:
    """Tell whether every span's parent is there, the first one's being outside."""
    ids = {span.span_id for span in spans} | {root}
    return all(span.parent_id in ids for span in spans)


@pytest.fixture(scope="module")
async def observed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observed]:
    async with (
        collecting() as collector,
        running_mesh(
            tmp_path_factory.mktemp("observed"),
            CREWMESH_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="50",
        ) as mesh,
    ):
        yield Observed(mesh, collector)


def above(span: Span, spans: list[Span]) -> list[str]:
    """Return the names of a span's ancestors, its parent's first."""
    by_id = {other.span_id: other for other in spans}
    names = []
    while (parent := by_id.get(span.parent_id)) is not None:
        names.append(parent.name)
        span = parent
    return names


async def test_a_run_is_one_trace_from_rest_to_its_tools(observed: Observed) -> None:
    upload = await observed.upload("books", BOOKS)
    assert above(upload, observed.collector.of_trace(upload.trace_id)) == [
        "crewmesh.v1.FileService/PutDataset",
        "POST /v1/datasets",
    ]
    run_id, spans, events = await observed.trace(
        "recommender", data="books", user="reader04", count=3
    )
    assert events[-1]["type"] == "run.succeeded"
    named = {span.name: span for span in spans}

    rest = named["POST /v1/runs"]
    assert rest.service == "crewmesh-api_gateway"
    assert rest.attributes["http.response.status_code"] == 202
    create = next(
        span
        for span in spans
        if span.name == "crewmesh.v1.RunStoreService/CreateRun" and span.service == "crewmesh-store"
    )
    assert above(create, spans)[-1] == "POST /v1/runs"
    assert "crewmesh.v1.AgentService/StartRun" in above(create, spans)
    assert any("CreateRun" in above(s, spans)[0] for s in spans if s.name == "postgresql")

    attempt = named["invoke_workflow recommender"]
    assert attempt.service == "crewmesh-agent_worker"
    assert attempt.attributes["crewmesh.run.id"] == run_id
    assert above(attempt, spans)[-1] == "POST /v1/runs"
    tools = [
        span for span in spans if span.attributes.get("gen_ai.operation.name") == "execute_tool"
    ]
    called = [event for event in events if event["type"] == "tool.completed"]
    assert sorted(str(span.attributes["gen_ai.tool.name"]) for span in tools) == sorted(
        event["payload"]["tool"] for event in called
    )
    models = [span for span in spans if span.name == "chat offline"]
    answered = [event for event in events if event["type"] == "llm.completed"]
    assert len(models) == len(answered)
    assert sum(int(s.attributes["gen_ai.usage.output_tokens"]) for s in models) == sum(
        event["payload"]["usage"]["completion_tokens"] for event in answered
    )
    for span in (*tools, *models):
        agent, task, workflow, *_ = above(span, spans)
        assert agent.startswith("invoke_agent "), above(span, spans)
        assert task.startswith("task "), above(span, spans)
        assert workflow == attempt.name
    assert all(span.start_ns <= span.end_ns for span in spans)
    # What was said stays in the log.
    assert "reader04" not in json.dumps([span.attributes for span in spans])


async def test_attempts_of_a_run_are_in_its_trace(observed: Observed, tmp_path: Path) -> None:
    _, spans, events = await observed.trace("effectful", file=str(tmp_path / "payments"))
    assert events[-1]["type"] == "run.succeeded"
    attempts = [span for span in spans if span.name == "invoke_workflow effectful"]
    assert [span.failed for span in sorted(attempts, key=lambda span: span.start_ns)] == [
        True,
        False,
    ]


async def test_nothing_of_the_mesh_s_own_errands_is_traced(observed: Observed) -> None:
    await observed.trace("hello", topic="traces")
    names = {span.name for span in observed.collector.spans}
    assert not {name for name in names if "RenewLeases" in name or "AppendEvents" in name}


async def scrape(url: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return what Prometheus would: values by name, then by labels."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.status == 200
        text = await response.text()
    values: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return values


async def test_metrics_tell_what_was_done(observed: Observed) -> None:
    mesh = observed.mesh
    address = json.loads((mesh.directory / "address.json").read_text(encoding="utf-8"))
    where = address["metrics"]
    before = {name: await scrape(url) for name, url in where.items()}
    run = await mesh.start_run("hello", topic="metrics")
    events = [event async for event in mesh.watch(run["id"])]
    assert events[-1]["type"] == "run.succeeded"

    async def grown(service: str, name: str, **labels: str) -> float:
        key = tuple(sorted(labels.items()))
        now = await scrape(where[service])
        return now[name][key] - before[service].get(name, {}).get(key, 0.0)

    async def is_counted() -> bool:
        return bool(await grown("worker-1", "crewmesh_worker_attempts_total", outcome="succeeded"))

    await until(is_counted)
    usage = events[-1]["payload"]["usage"]
    for service, name, labels, value in [
        ("gateway", "crewmesh_gateway_requests_total",
         {"method": "POST", "route": "/v1/runs", "status": "202"}, 1),
        ("gateway", "crewmesh_gateway_request_duration_seconds_count",
         {"method": "POST", "route": "/v1/runs"}, 1),
        ("worker-1", "crewmesh_grpc_server_handled_total",
         {"method": "AgentService/StartRun", "code": "OK"}, 1),
        ("worker-1", "crewmesh_grpc_server_handling_seconds_count",
         {"method": "AgentService/StartRun"}, 1),
        ("worker-1", "crewmesh_worker_attempts_total", {"outcome": "succeeded"}, 1),
        ("worker-1", "crewmesh_worker_model_calls_total", {"provider": "offline"},
         usage["model_calls"]),
        ("worker-1", "crewmesh_worker_tokens_total",
         {"provider": "offline", "direction": "input"}, usage["prompt_tokens"]),
        ("worker-1", "crewmesh_worker_tokens_total",
         {"provider": "offline", "direction": "output"}, usage["completion_tokens"]),
        # The store makes the first two: queued and started.
        ("worker-1", "crewmesh_worker_events_total", {}, len(events) - 2),
        ("store", "crewmesh_store_events_appended_total", {}, len(events) - 2),
        ("store", "crewmesh_store_runs_created_total", {}, 1),
        ("store", "crewmesh_store_runs_ended_total", {"status": "succeeded"}, 1),
        ("store", "crewmesh_store_leases_granted_total", {}, 1),
        ("store", "crewmesh_grpc_server_handled_total",
         {"method": "RunStoreService/CreateRun", "code": "OK"}, 1),
    ]:  # fmt: skip
        assert await grown(service, name, **labels) == value, (name, labels)
    worker, store = await scrape(where["worker-1"]), await scrape(where["store"])
    assert worker["crewmesh_worker_slots"][()] > 0
    assert worker["crewmesh_worker_slots_taken"][()] == 0
    assert worker["crewmesh_worker_attached"][()] == 1
    assert store["crewmesh_store_workers_attached"][()] == 1
    assert store["crewmesh_store_database_connections"][()] >= 2
    assert worker["crewmesh_worker_event_append_lag_seconds_count"][()] > 0


async def test_refusals_lost_attempts_and_cancels_are_counted(
    observed: Observed, tmp_path: Path
) -> None:
    mesh = observed.mesh
    where = json.loads((mesh.directory / "address.json").read_text(encoding="utf-8"))["metrics"]

    async def store(name: str, **labels: str) -> float:
        return (await scrape(where["store"]))[name][tuple(sorted(labels.items()))]

    lost = await store("crewmesh_store_recoveries_total", cause="attempt_failed")
    cancelled = await store("crewmesh_store_runs_ended_total", status="cancelled")
    await observed.trace("effectful", file=str(tmp_path / "payments"))
    assert await store("crewmesh_store_recoveries_total", cause="attempt_failed") == lost + 1
    run = await mesh.start_run("paced", words=10_000)
    async with mesh.http.post(f"/v1/runs/{run['id']}/cancel") as response:
        assert response.status == 200
    assert [event async for event in mesh.watch(run["id"])][-1]["type"] == "run.cancelled"
    assert await store("crewmesh_store_runs_ended_total", status="cancelled") == cancelled + 1
    async with mesh.http.get(f"/v1/runs/{'0' * 8}-0000-7000-8000-{'0' * 12}") as response:
        assert response.status == 404
    handled = (await scrape(where["worker-1"]))["crewmesh_grpc_server_handled_total"]
    assert handled[("code", "NOT_FOUND"), ("method", "AgentService/GetRun")] >= 1


async def test_lines_carry_the_ids_of_their_request_run_and_tenant(observed: Observed) -> None:
    mesh = observed.mesh
    run = await mesh.start_run("hello", {"X-Request-ID": "the-request"}, topic="logs")
    assert [event async for event in mesh.watch(run["id"])][-1]["type"] == "run.succeeded"
    org_id = (await mesh.get("/v1/me"))["org"]["id"]

    def lines(service: str) -> list[dict[str, Any]]:
        text = (mesh.directory / "logs" / f"{service}.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def with_run(service: str, event: str) -> list[dict[str, Any]]:
        return [x for x in lines(service) if x["event"] == event and x.get("run_id") == run["id"]]

    async def is_logged() -> bool:
        return bool(with_run("worker-1", "attempt ended"))

    await until(is_logged)
    (accepted,) = with_run("store", "run accepted")
    assert accepted["request_id"] == "the-request"
    assert accepted["org_id"] == org_id
    assert with_run("worker-1", "attempt ended")[0]["org_id"] == org_id
    (request,) = [x for x in lines("gateway") if x.get("request_id") == "the-request"]
    assert request["status"] == 202
    assert request["org_id"] == org_id
    assert len(request["trace_id"]) == 32
    assert request["trace_id"] == accepted["trace_id"]


async def step(mesh: Mesh, service: str, by: signal.Signals, to: str) -> None:
    """Send a service a signal, and wait until it says that its level is another."""
    log = mesh.directory / "logs" / f"{service}.log"

    def times() -> int:
        return log.read_text(encoding="utf-8").count(f'"to": "{to}"')

    before = times()
    mesh.services()[service].send_signal(by)

    async def is_said() -> bool:
        return times() > before

    await until(is_said)


@pytest.mark.parametrize("service", ["gateway", "store", "worker-1"])
async def test_signals_set_any_level_while_a_service_runs(observed: Observed, service: str) -> None:
    mesh = observed.mesh
    steps = [(signal.SIGUSR2, "WARNING"), (signal.SIGUSR2, "ERROR"), (signal.SIGUSR2, "ERROR"),
             (signal.SIGUSR1, "WARNING"), (signal.SIGUSR1, "INFO"), (signal.SIGUSR1, "DEBUG"),
             (signal.SIGUSR1, "DEBUG"), (signal.SIGUSR2, "INFO")]  # fmt: skip
    for by, to in steps:
        await step(mesh, service, by, to)
        if to == "ERROR":
            before = info_lines(mesh, service)
            await finished(mesh)
            assert info_lines(mesh, service) == before
    before = info_lines(mesh, service)
    await finished(mesh)

    async def is_told() -> bool:
        # A worker says it once the run's end has been sent.
        return info_lines(mesh, service) > before

    await until(is_told)


def info_lines(mesh: Mesh, service: str) -> int:
    log = mesh.directory / "logs" / f"{service}.log"
    return log.read_text(encoding="utf-8").count('"level": "info"')


async def finished(mesh: Mesh) -> None:
    """Run a crew to its end: each service has something to say of it."""
    run = await mesh.start_run("hello", topic="levels")
    async for _ in mesh.watch(run["id"]):
        pass


async def test_a_signal_shows_what_debug_tells_and_another_ends_it(observed: Observed) -> None:
    mesh = observed.mesh
    log = mesh.directory / "logs" / "gateway.log"

    def count(text: str) -> int:
        return log.read_text(encoding="utf-8").count(text)

    quiet = '"route": "/healthz"'
    await mesh.get("/healthz")
    await mesh.get("/v1/me")  # by now it would have been logged
    assert count(quiet) == 0
    await step(mesh, "gateway", signal.SIGUSR1, "DEBUG")
    await mesh.get("/healthz")

    async def is_logged() -> bool:
        return count(quiet) == 1

    await until(is_logged)
    await step(mesh, "gateway", signal.SIGUSR2, "INFO")
    await mesh.get("/healthz")
    await mesh.get("/v1/me")
    assert count(quiet) == 1
