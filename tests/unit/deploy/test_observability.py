"""Dashboards and alert rules: they name metrics that there are, and runbooks that there are."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from crewmesh_gateway.metrics import Metrics
from crewmesh_store.metrics import StoreMetrics
from crewmesh_worker.metrics import WorkerMetrics
from crewmesh_worker.runs.slots import Slots

ROOT = Path(__file__).parents[3]
FILES = ROOT / "deploy" / "helm" / "crewmesh" / "files"
RULES = FILES / "alerts.yaml"
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))
RUNBOOKS = ROOT / "docs" / "operations" / "runbooks"
PROMTOOL = shutil.which("promtool")
# Prometheus' own.
_OTHERS = {"up"}


def names_of(registry: CollectorRegistry) -> Iterator[str]:
    """Yield the names of the series that a registry will have, labels or none."""
    for family in registry.collect():
        if family.type == "counter":
            yield f"{family.name}_total"
        elif family.type == "histogram":
            yield from (f"{family.name}_{part}" for part in ("bucket", "sum", "count"))
        else:
            yield family.name


@pytest.fixture(scope="module")
def known() -> set[str]:
    registries = [
        Metrics().registry,
        StoreMetrics().registry,
        WorkerMetrics(Slots(1)).registry,
    ]
    return {name for registry in registries for name in names_of(registry)} | _OTHERS


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def named(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"|(by|without) \([^)]*\)", "", expression)
    return set(re.findall(r"\b(?:crewmesh|process|python)_\w+|\bup\b", bare))


def test_every_metric_of_a_rule_exists(known: set[str]) -> None:
    for alert in alerts():
        metrics = named(alert["expr"])
        assert metrics
        assert metrics <= known, alert["alert"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_of_a_dashboard_exists(path: Path, known: set[str]) -> None:
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    for panel in panels:
        for target in panel.get("targets", ()):
            metrics = named(target["expr"])
            assert metrics
            assert metrics <= known, panel["title"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    runbooks = {path.stem: path.read_text() for path in RUNBOOKS.glob("*.md")}
    del runbooks["README"]
    assert {alert["annotations"]["runbook"] for alert in alerts()} == runbooks.keys()
    for alert in alerts():
        assert f"`{alert['alert']}`" in runbooks[alert["annotations"]["runbook"]]
        assert alert["labels"]["severity"] in {"info", "warning", "critical"}


def test_the_dashboards_are_what_their_script_writes() -> None:
    script = runpy.run_path(str(ROOT / "deploy" / "observability" / "make_dashboards.py"))
    written = script["files"]()
    assert sorted(written) == DASHBOARDS
    for path, text in written.items():
        assert path.read_text() == text, "run python deploy/observability/make_dashboards.py"


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: Debian's package prometheus has it")
def test_prometheus_takes_the_rules_and_its_configuration(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    (tmp_path / "rules").mkdir()
    shutil.copy(RULES, tmp_path / "rules")
    configuration = ROOT / "deploy" / "observability" / "prometheus" / "prometheus.yml"
    text = configuration.read_text().replace("/etc/prometheus", str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(text)
    done = subprocess.run(
        [PROMTOOL, "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # Each dashboard's expressions, as rules.
    expressions = {
        re.sub(r"\$__(rate_interval|range)", "5m", target["expr"])
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", ())
    }
    rules = [{"record": f"x:{n}", "expr": text} for n, text in enumerate(sorted(expressions))]
    (tmp_path / "panels.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    )
    done = subprocess.run(
        [PROMTOOL, "check", "rules", str(tmp_path / "panels.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_mounts_what_is_there() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounted = [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]
    assert mounted
    assert [path for path in mounted if not (ROOT / path).exists()] == []
    # Rules refer to the jobs of the configuration, and both to compose's names.
    configuration = yaml.safe_load(
        (ROOT / "deploy/observability/prometheus/prometheus.yml").read_text()
    )
    jobs = {job["job_name"] for job in configuration["scrape_configs"]}
    assert jobs <= compose["services"].keys()
