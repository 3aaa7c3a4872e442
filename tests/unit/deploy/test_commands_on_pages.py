"""The pages about compose and Kubernetes: what they say to type has the form that it must have.

What the commands do needs an engine or a cluster: `make test-containers` has the one.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.deploy.test_chart import CHART, HELM, helm

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = (
    *("how-to/run-with-compose.md", "how-to/run-on-kubernetes.md", "how-to/observe.md"),
    *("operations/backup.md", "operations/upgrade.md", "how-to/encrypt-the-mesh.md"),
    *("operations/runbooks/no-workers.md", "tutorial.md"),
)
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
# Each with the options that pages may give it; True for those that take a value.
SUBCOMMANDS = {
    "up": {"--detach": False, "--wait": False, "--scale": True},
    "stop": {},
    "exec": {"-T": False},
    "kill": {"--signal": True},
}  # fmt: skip


def lines_of(page: str) -> Iterator[str]:
    """Yield the commands of a page, in blocks and within sentences, each on one line."""
    text = (DOCS / page).read_text(encoding="utf-8")
    indented = re.findall(r"^(?:    | {7,8})(\S(?:.*\\\n)*.*)$", text, re.MULTILINE)
    fenced = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in re.sub(
            r"<<'(\w+)'\n.*?^\1$", "", block, flags=re.DOTALL | re.MULTILINE
        ).splitlines()
    ]
    for line in (*indented, *fenced, *re.findall(r"`([^`\n]+)`", text)):
        joined = " ".join(line.replace("\\\n", " ").split())
        yield re.sub(r"\s+# .*$", "", joined)


def commands(program: str) -> list[list[str]]:
    """Return the words of what pages say to type that begins with `program`."""
    found = []
    for page in PAGES:
        for line in lines_of(page):
            for part in re.split(r" && | \| |; ", line):
                bare = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", part)
                if bare.startswith(f"{program} ") and "[<>]" not in bare:
                    words = shlex.split(re.sub(r"\s*[<>]\S+", "", bare))
                    found.append(words[len(program.split()) :])
    assert found, program
    return found


def test_compose_commands_name_services_and_options_that_there_are() -> None:
    for words in commands("docker compose"):
        options = SUBCOMMANDS[words[0]]
        rest = words[1:]
        services = []
        while rest:
            word = rest.pop(0)
            if word.startswith("-"):
                if options[word]:
                    value = rest.pop(0)
                    if word == "--scale":
                        services.append(value.partition("=")[0])
            else:
                services.append(word)
                if words[0] == "exec":
                    break
        assert set(services) <= COMPOSE["services"].keys(), words


def test_profiles_and_variables_are_those_of_the_compose_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    page = (DOCS / "how-to/run-with-compose.md").read_text(encoding="utf-8")
    profiles = {
        name for service in COMPOSE["services"].values() for name in service.get("profiles", [])
    }
    assert set(re.findall(r"COMPOSE_PROFILES=(\w+)", page)) <= profiles
    for row in re.findall(r"^\| (`CREWMESH_.*?) \|", page, re.MULTILINE):
        for name in re.findall(r"`(CREWMESH_\w+)`", row):
            assert f"${{{name}:-" in text, name


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0,
    reason="needs docker's plugin compose, though no engine",
)
@pytest.mark.parametrize("profiles", ["", "observability", "s3", "s3,observability"])
def test_compose_takes_the_file(profiles: str) -> None:
    done = subprocess.run(
        ["docker", "compose", "config", "--quiet"],
        cwd=ROOT,
        env={**os.environ, "COMPOSE_PROFILES": profiles},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_make_has_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    for words in commands("make"):
        assert {word for word in words if "=" not in word} <= targets, words


@pytest.mark.skipif(HELM is None, reason="needs Helm: `make tools`")
def test_helm_takes_the_values_that_pages_set() -> None:
    for words in commands("helm"):
        if len(words) == 1:  # It is only spoken of.
            continue
        assert words[0] in ("install", "upgrade"), words
        assert words[1:3] == ["crewmesh", "deploy/helm/crewmesh"], words
        filled = [word.replace("DIGEST", "0" * 64) for word in words]
        sets = [word for i, word in enumerate(filled) if "--set" in (word, words[i - 1])]
        done = helm("template", "crewmesh", str(CHART), "--namespace", "crewmesh", *sets)
        assert done.returncode == 0, (words, done.stderr)
        # And its own options.
        others = {w for w in words if w.startswith("--")}
        assert others <= {"--namespace", "--set", "--reset-then-reuse-values", "--wait"}
        offered = helm(words[0], "--help").stdout
        assert all(f"{option} " in offered for option in others), words


@pytest.mark.skipif(HELM is None, reason="needs Helm: `make tools`")
def test_helm_takes_the_values_that_stand_by_themselves() -> None:
    alone = [line for page in PAGES for line in lines_of(page) if line.startswith("--set ")]
    assert len(alone) >= 2
    for line in alone:
        done = helm("template", "crewmesh", str(CHART), *shlex.split(line))
        assert done.returncode == 0, (line, done.stderr)


def test_what_is_put_into_secrets_is_what_the_chart_takes(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "deploy" / "compose" / "make_secrets.py"))
    made = {*script["make_secrets"](tmp_path), "scaler-token"}
    page = (DOCS / "how-to/run-on-kubernetes.md").read_text(encoding="utf-8")
    given = set(re.findall(r"--from-file=secrets/([\w-]+)(?=[\s\\])", page))
    assert given == set(VALUES["secret"]["keys"].values())
    assert given <= made
    (loop,) = re.findall(r"for role in (.*?); do\n(.*?)\n    done", page, re.DOTALL)
    assert {f"crewmesh-tls-{role}" for role in loop[0].split()} == set(
        VALUES["tls"]["secretNames"].values()
    )
    assert "crewmesh-tls-$role --from-file=secrets/tls/$role" in loop[1]


@pytest.mark.skipif(HELM is None, reason="needs Helm: `make tools`")
def test_kubectl_names_what_the_chart_makes() -> None:
    rendered = helm("template", "crewmesh", str(CHART), "--namespace", "crewmesh").stdout
    documents: list[dict[str, Any]] = [d for d in yaml.safe_load_all(rendered) if d]
    deployments = {d["metadata"]["name"] for d in documents if d["kind"] == "Deployment"}
    named = {
        word.removeprefix("deploy/")
        for words in commands("kubectl")
        for word in words
        if word.startswith("deploy/")
    }
    assert named
    assert named <= deployments


def test_no_image_has_a_program_kill_so_a_shell_is_asked() -> None:
    for words in commands("kubectl"):
        if "kill" in " ".join(words):
            assert words[words.index("--") + 1 :][:2] == ["sh", "-c"], words
