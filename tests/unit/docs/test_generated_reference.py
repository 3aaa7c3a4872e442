"""The reference that is made of the code: whole, and as the code is now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs.generate import cli, errors, grpc_api, rest, settings, site
from tests.benchmarks import scaling

from crewmesh.common.errors import CrewmeshError
from crewmesh.v1 import agent_pb2

ROOT = Path(__file__).parents[3]
EVENTS = ROOT / "docs" / "reference" / "events.md"
# Where events are made: the runner's projection, the worker and the store.
SOURCES = [
    ROOT / "services/agent_worker/crewmesh_worker",
    ROOT / "services/store/crewmesh_store/sql",
    ROOT / "services/store/crewmesh_store/runs",
]
_EVENT = re.compile(
    r"[\"']((?:run|task|agent|tool|llm|budget|artifact|input)\."
    r"(?:queued|started|resumed|completed|failed|chunk|retried|exceeded|created|requested|received"
    r"|succeeded|cancelled|timed_out))[\"']"
)


def test_the_settings_page_is_what_its_script_writes() -> None:
    page = ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == settings.page(), "run make reference"


def test_every_event_that_the_code_makes_is_on_the_page_and_no_other() -> None:
    made = {
        name
        for source in SOURCES
        for path in source.rglob("*")
        if path.suffix in {".py", ".sql"}
        for name in _EVENT.findall(path.read_text(encoding="utf-8"))
    }
    told = set(re.findall(r"^\| `([\w.]+)` \|", EVENTS.read_text(encoding="utf-8"), re.MULTILINE))
    told = {name for name in told if "." in name}
    assert len(made) > 15
    assert made == told


def test_every_rpc_is_told_with_its_permission() -> None:
    page = grpc_api.page()
    for method in agent_pb2.DESCRIPTOR.services_by_name["AgentService"].methods:
        assert re.search(rf"^\| `{method.name}` \| .*`\w+\.\w+`", page, re.MULTILINE), method.name
    assert "Ending a stream never ends the run" in page  # the protos' comments are in it


def test_every_service_of_the_store_is_told() -> None:
    protos = ROOT / "protos" / "crewmesh" / "v1"
    defined = {
        name
        for path in protos.glob("*.proto")
        for name in re.findall(r"^service (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    told = set(re.findall(r"^## (\w+Service)$", grpc_api.store_page(), re.MULTILINE))
    assert told == defined - {"AgentService", "SessionService"}


@pytest.mark.parametrize(
    ("operation", "rpc"),
    [
        *(("create", "CreateRun"), ("claim", "AttachWorker"), ("append", "AppendEvents")),
        *(("watch", "WatchRun"), ("get", "GetRun"), ("list", "ListRuns")),
    ],
)
def test_an_operation_says_the_cost_that_the_benchmark_measures(operation: str, rpc: str) -> None:
    cost = scaling.OPERATIONS[operation][1]
    assert re.search(rf"^\| `{rpc}` \|.*{re.escape(cost)}", grpc_api.store_page(), re.MULTILINE)


def test_every_reason_has_its_status() -> None:
    page = errors.page()
    for reason, status in (("IDEMPOTENCY_KEY_REUSED", 409), ("QUEUE_FULL", 429)):
        assert re.search(rf"^\| `{reason}` \| {status} \| \S", page, re.MULTILINE)
    # Others have imported more.
    for cls in (
        c for c in CrewmeshError.__subclasses__() if c.__module__ == CrewmeshError.__module__
    ):
        assert f"`{cls.__name__}`" in page


def test_every_command_and_operation_is_told() -> None:
    commands = cli.page()
    for command in ("up", "run", "runs watch", "crews push", "keys create", "doctor"):
        assert f"## crewmesh {command}\n" in commands
    operations = rest.page()
    for operation in ("POST /v1/runs", "GET /v1/runs/{run_id}/events", "GET /metrics"):
        assert f"### {operation}\n" in operations


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="there.html">', None),
        ('<a href="there.html#part">', None),
        ('<a href="https://example.com/">', None),
        ('<a href="nowhere.html">', "isn't there"),
        ('<a href="there.html#other">', "a heading"),
        ('<script src="https://cdn.example.com/x.js">', "loads"),
        ('<link rel="stylesheet" href="https://cdn.example.com/x.css">', "loads"),
        ('<img src="missing.png">', "isn't there"),
    ],
)
def test_a_built_site_s_faults_are_found(tmp_path: Path, html: str, fault: str | None) -> None:
    (tmp_path / "there.html").write_text('<h2 id="part">Part</h2>')
    (tmp_path / "index.html").write_text(html)
    found = site.faults(tmp_path)
    assert (found == []) if fault is None else (len(found) == 1 and fault in found[0])
