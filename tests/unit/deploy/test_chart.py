"""The Helm chart, rendered by Helm and checked against Kubernetes' own schemas."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from crewmesh_gateway.settings import GatewaySettings
from crewmesh_store.settings import StoreSettings
from crewmesh_worker.settings import WorkerSettings

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "crewmesh"
TOOLS = ROOT / ".tools" / "bin"
HELM = shutil.which("helm", path=str(TOOLS)) or shutil.which("helm")
OLDEST, NEWEST = "1.29", "1.35"

pytestmark = pytest.mark.skipif(
    HELM is None, reason="needs Helm: `make tools` has it for Linux on x86-64, else install it"
)

ALL = {
    "agentWorker.autoscaling.type": "keda",
    "agentWorker.autoscaling.targetWaitSeconds": "60",
    "agentWorker.crewsConfigMap": "crews",
    "apiGateway.autoscaling.enabled": "true",
    "apiGateway.ingress.enabled": "true",
    "apiGateway.ingress.host": "crewmesh.example",
    "apiGateway.ingress.tlsSecretName": "tls",
    "objectStore.url": "s3://bucket/crewmesh",
    "objectStore.s3.endpoint": "https://s3.example",
    "objectStore.s3.secretName": "s3",
    "store.replicas": "3",
    "observability.otlpEndpoint": "http://otel-collector.monitoring:4318",
    "observability.serviceMonitor.enabled": "true",
    "observability.rules.enabled": "true",
    "observability.dashboards.enabled": "true",
}
PLAIN = {"networkPolicy.enabled": "false", "tls.enabled": "false"}
# Of operators, whose schemas aren't Kubernetes' own.
OPERATORS = {"keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
CASES: list[dict[str, str]] = [{}, ALL, PLAIN, {**ALL, "tls.enabled": "false"}]
SETTINGS = {"store": StoreSettings, "agent-worker": WorkerSettings, "api-gateway": GatewaySettings}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False)


def render(values: dict[str, str], *options: str) -> list[dict[str, Any]]:
    sets = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    done = helm("template", "test", str(CHART), "--namespace", "crewmesh", *sets, *options)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Return the documents of a kind, by the part of the mesh that they are for."""
    return {
        document["metadata"]["labels"]["app.kubernetes.io/component"]: document
        for document in documents
        if document["kind"] == kind
    }


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("values", CASES)
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_everything_fits_kubernetes_schemas(values: dict[str, str], version: str) -> None:
    documents = render(values, "--kube-version", version)
    assert {document["kind"] for document in documents} >= {"Deployment", "Service"}
    for document in documents:
        if document["apiVersion"] not in OPERATORS:
            kubernetes_validate.validate(document, version, strict=True)


def test_lint_finds_no_fault() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", CASES)
def test_no_pod_has_root_a_writable_root_a_capability_or_a_token(values: dict[str, str]) -> None:
    deployments = of_kind(render(values), "Deployment")
    assert set(deployments) == {"api-gateway", "store", "agent-worker"}
    for deployment in deployments.values():
        pod = pod_of(deployment)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert [c["topologyKey"] for c in pod["topologySpreadConstraints"]] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        (container,) = pod["containers"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


@pytest.mark.parametrize("values", CASES)
def test_secrets_are_references_to_one_that_is_there(values: dict[str, str]) -> None:
    documents = render(values)
    assert not [document for document in documents if document["kind"] == "Secret"]
    items = {
        part: {item["path"] for item in volume["secret"]["items"]}
        for part, deployment in of_kind(documents, "Deployment").items()
        for volume in pod_of(deployment)["volumes"]
        if volume["name"] == "secrets"
    }
    scaler = {"scaler-token"} if "agentWorker.autoscaling.type" in values else set()
    assert items == {
        "api-gateway": {"mesh-secret"},
        "agent-worker": {"mesh-secret"},
        "store": {"database-url", "mesh-secret", "secrets-key", "api-key"} | scaler,
    }


@pytest.mark.parametrize("values", CASES)
def test_every_variable_is_a_setting_of_its_service(values: dict[str, str]) -> None:
    for part, deployment in of_kind(render(values), "Deployment").items():
        (container,) = pod_of(deployment)["containers"]
        names = [variable["name"] for variable in container["env"]]
        assert len(names) == len(set(names))
        for name in names:
            if name.startswith("CREWMESH_"):
                setting = name.removeprefix("CREWMESH_").removesuffix("_FILE").lower()
                assert setting in SETTINGS[part].model_fields, f"{part}: {name}"


def test_each_service_has_its_own_certificate_and_no_other() -> None:
    secrets = {}
    for part, deployment in of_kind(render({}), "Deployment").items():
        (container,) = pod_of(deployment)["containers"]
        environment = {v["name"]: v.get("value") for v in container["env"]}
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == "tls"]
        (volume,) = [v for v in pod_of(deployment)["volumes"] if v["name"] == "tls"]
        assert environment["CREWMESH_TLS_DIR"] == mount["mountPath"]
        assert "CREWMESH_INSECURE_PLAINTEXT" not in environment
        assert {item["path"] for item in volume["secret"]["items"]} == {
            "ca.pem",
            "cert.pem",
            "key.pem",
        }
        secrets[part] = volume["secret"]["secretName"]
    assert secrets == {part: f"crewmesh-tls-{part}" for part in SETTINGS}


def test_over_tls_readiness_is_asked_by_who_has_a_certificate() -> None:
    for values, way in (({}, "exec"), (PLAIN, "grpc")):
        for part in ("store", "agent-worker"):
            (container,) = pod_of(of_kind(render(values), "Deployment")[part])["containers"]
            assert way in container["readinessProbe"]
            assert (
                "appProtocol" in of_kind(render(values), "Service")[part]["spec"]["ports"][0]
            ) is (way == "grpc")


def test_keda_believes_the_meshs_authority() -> None:
    documents = render(ALL)
    trust = of_kind(documents, "TriggerAuthentication")["agent-worker"]
    assert trust["spec"]["secretTargetRef"] == [
        {"parameter": "caCert", "name": "crewmesh-tls-store", "key": "ca.pem"}
    ]
    for trigger in of_kind(documents, "ScaledObject")["agent-worker"]["spec"]["triggers"]:
        assert trigger["metadata"]["enableTLS"] == "true"
        assert trigger["authenticationRef"] == {"name": trust["metadata"]["name"]}


def test_plain_text_is_said_to_the_services_in_so_many_words() -> None:
    for deployment in of_kind(render(PLAIN), "Deployment").values():
        (container,) = pod_of(deployment)["containers"]
        environment = {v["name"]: v.get("value") for v in container["env"]}
        assert environment["CREWMESH_INSECURE_PLAINTEXT"] == "true"
        assert "CREWMESH_TLS_DIR" not in environment


def test_grpc_is_balanced_by_the_clients_over_headless_services() -> None:
    services = of_kind(render({}), "Service")
    assert services["store"]["spec"]["clusterIP"] == "None"
    assert services["agent-worker"]["spec"]["clusterIP"] == "None"
    deployments = of_kind(render({}), "Deployment")
    gateway = pod_of(deployments["api-gateway"])["containers"][0]["env"]
    targets = {v["name"]: v["value"] for v in gateway if v["name"].endswith("_TARGET")}
    assert targets == {
        "CREWMESH_STORE_TARGET": f"dns:///{services['store']['metadata']['name']}:8082",
        "CREWMESH_WORKER_TARGET": f"dns:///{services['agent-worker']['metadata']['name']}:8081",
    }


def test_a_pod_is_given_longer_to_end_than_it_drains() -> None:
    worker = pod_of(
        of_kind(render({"agentWorker.drainSeconds": "300"}), "Deployment")["agent-worker"]
    )
    assert worker["terminationGracePeriodSeconds"] > 300


@pytest.mark.parametrize("values", [{}, ALL])
def test_only_the_store_may_reach_the_database(values: dict[str, str]) -> None:
    policies = of_kind(render(values), "NetworkPolicy")
    reaching = {
        part
        for part, policy in policies.items()
        for rule in policy["spec"]["egress"]
        if any(port["port"] == 5432 for port in rule["ports"])
    }
    assert reaching == {"store"}
    assert all(
        policy["spec"]["policyTypes"] == ["Ingress", "Egress"] for policy in policies.values()
    )


def test_prometheus_alone_reaches_the_metrics_and_traces_go_to_the_collector() -> None:
    monitoring = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]
    for part, policy in of_kind(render(ALL), "NetworkPolicy").items():
        spec = policy["spec"]
        reached = [rule["from"] for rule in spec["ingress"] if rule["ports"] == [{"port": 9464}]]
        assert reached == [monitoring], part
        sent = [rule["to"] for rule in spec["egress"] if rule["ports"] == [{"port": 4318}]]
        assert sent == [monitoring]


def test_the_gateway_reaches_the_identity_provider_where_it_is_told_to() -> None:
    def egress(values: dict[str, str]) -> list[dict[str, Any]]:
        policy = of_kind(render(values), "NetworkPolicy")["api-gateway"]
        rules: list[dict[str, Any]] = policy["spec"]["egress"]
        return rules

    rule = "networkPolicy.gatewayEgress[0]"
    asked = {f"{rule}.ports[0].port": "443", f"{rule}.to[0].ipBlock.cidr": "203.0.113.7/32"}
    added = {"ports": [{"port": 443}], "to": [{"ipBlock": {"cidr": "203.0.113.7/32"}}]}
    assert egress(asked) == [*egress({}), added]
    for document in render(asked):
        kubernetes_validate.validate(document, NEWEST, strict=True)


def test_who_may_call_the_gateway_does_not_keep_prometheus_out() -> None:
    clients = "networkPolicy.gatewayClients[0].namespaceSelector.matchLabels.team"
    rules = of_kind(render({clients: "a"}), "NetworkPolicy")["api-gateway"]["spec"]["ingress"]
    by_port = {rule["ports"][0]["port"]: rule.get("from") for rule in rules}
    assert by_port == {
        8080: [{"namespaceSelector": {"matchLabels": {"team": "a"}}}],
        9464: [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ],
    }


def test_what_the_ingress_publishes_has_no_metrics() -> None:
    documents = render(ALL)
    gateway = of_kind(documents, "Deployment")["api-gateway"]
    (container,) = pod_of(gateway)["containers"]
    assert {"name": "CREWMESH_METRICS_ADDRESS", "value": "0.0.0.0:9464"} in container["env"]
    (path,) = of_kind(documents, "Ingress")["api-gateway"]["spec"]["rules"][0]["http"]["paths"]
    (published,) = [
        document
        for document in documents
        if document["kind"] == "Service"
        and document["metadata"]["name"] == path["backend"]["service"]["name"]
    ]
    assert [port["targetPort"] for port in published["spec"]["ports"]] == ["http"]


def test_the_operator_finds_every_part_s_metrics_and_the_rules() -> None:
    documents = render(ALL)
    services = of_kind(documents, "Service")
    monitors = of_kind(documents, "ServiceMonitor")
    assert monitors.keys() == services.keys()
    for part, monitor in monitors.items():
        ports = {port["name"] for port in services[part]["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
        assert (
            monitor["spec"]["selector"]["matchLabels"].items()
            <= services[part]["metadata"]["labels"].items()
        )
    rules = of_kind(documents, "PrometheusRule")["observability"]["spec"]
    assert rules == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())


def test_keda_alone_reaches_the_scaler_and_asks_with_the_workers_token() -> None:
    documents = render(ALL)
    (rule,) = [
        rule
        for rule in of_kind(documents, "NetworkPolicy")["store"]["spec"]["ingress"]
        if rule["ports"] == [{"port": 8083}]
    ]
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}
    ]
    scaled = of_kind(documents, "ScaledObject")["agent-worker"]["spec"]
    worker = of_kind(documents, "Deployment")["agent-worker"]
    assert "replicas" not in worker["spec"]
    assert scaled["scaleTargetRef"] == {
        "name": worker["metadata"]["name"],
        "envSourceContainerName": "agent-worker",
    }
    environment = {v["name"]: v for v in pod_of(worker)["containers"][0]["env"]}
    for trigger in scaled["triggers"]:
        metadata = trigger["metadata"]
        assert trigger["type"] == "external"
        assert metadata["scalerAddress"] == "test-crewmesh-store.crewmesh.svc:8083"
        source = environment[metadata["tokenFromEnv"]]["valueFrom"]["secretKeyRef"]
        assert source == {"name": "crewmesh", "key": "scaler-token"}
    assert [(t["metricType"], t["metadata"]["metric"], t["metadata"]["target"]) for t in scaled["triggers"]] == [
        ("AverageValue", "demand", "8"),
        ("Value", "age", "60"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"store.replicas": "2"}, "several need objectStore.url"),
        ({"agentWorker.autoscaling.minReplicas": "0"}, "minReplicas"),
        ({"agentWorker.autoscaling.type": "hpa"}, "type"),
        ({"apiGateway.ingress.enabled": "true"}, "say which host"),
        ({"objectStore.url": "http://somewhere"}, "url"),
        ({"agentWorker.slotss": "3"}, "slotss"),
        ({"image.tag": "1", "store.digest": "sha256:abc"}, "digest"),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(values: dict[str, str], said: str) -> None:
    sets = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    done = helm("template", "test", str(CHART), *sets)
    assert done.returncode != 0
    assert said in done.stderr
