"""What is deployed when, and what renews what; make lint-workflows checks their form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
# YAML 1.1 takes `on` for true.
ON: Any = True


def workflow(name: str) -> dict[str, Any]:
    path = ROOT / ".github" / "workflows" / f"{name}.yml"
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def test_a_deployment_runs_on_main_only() -> None:
    (job,) = workflow("deploy")["jobs"].values()
    assert job["if"] == "github.ref == 'refs/heads/main'"
    deploying = [
        path.name
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        if re.search(r"\bhelm (upgrade|install)\b", path.read_text(encoding="utf-8"))
    ]
    assert deploying == ["deploy.yml"]


def test_a_release_has_itself_deployed_on_main() -> None:
    (step,) = workflow("release")["jobs"]["deploy"]["steps"]
    command = step["run"]
    assert command.startswith("gh workflow run deploy.yml --ref main ")
    inputs = dict(re.findall(r"--field \"?(\w+)=([^\s\"]+)", command))
    asked = workflow("deploy")[ON]["workflow_dispatch"]["inputs"]
    assert inputs.keys() == asked.keys()
    assert inputs["environment"] == "production"


def test_what_goes_to_staging_passed_everything() -> None:
    jobs = workflow("ci")["jobs"]
    checks = jobs.keys() - {"images", "deploy"}
    assert set(jobs["images"]["needs"]) == checks
    assert jobs["deploy"]["needs"] == "images"
    for job in ("images", "deploy"):
        assert "github.ref == 'refs/heads/main'" in jobs[job]["if"]


def test_dependabot_is_asked_for_what_it_can_read() -> None:
    config = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))
    asked = {update["package-ecosystem"]: update["directory"] for update in config["updates"]}
    needed = {
        "github-actions": ".github/workflows/ci.yml",
        "npm": "package-lock.json",
        "docker-compose": "docker-compose.yml",
    }
    assert asked.keys() == needed.keys()
    for ecosystem, directory in asked.items():
        assert (ROOT / directory.strip("/") / needed[ecosystem]).is_file(), ecosystem


def test_every_lock_is_made_by_make_lock() -> None:
    listed = {
        path.relative_to(ROOT).as_posix()
        for place in ("*.lock", "deploy/**/*.lock", "services/**/*.lock", "core/**/*.lock")
        for path in ROOT.glob(place)
    }
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = makefile.partition("\nlock:")[2].partition("\nMEMBERS")[0]
    made = set(
        re.findall(r"-o (\S+\.lock)", rules.replace("$(IMAGE_LOCKS)", "deploy/docker/requirements"))
    )
    assert listed == made
    steps = workflow("renew")["jobs"]["resolve"]["steps"]
    assert any("make lock" in step.get("run", "") for step in steps)


def test_what_resolves_may_not_write_and_what_writes_takes_locks_only() -> None:
    jobs = workflow("renew")["jobs"]
    assert jobs["resolve"]["permissions"] == {"contents": "read"}
    (script,) = [step["run"] for step in jobs["propose"]["steps"] if "run" in step]
    assert "git apply --include='*.lock'" in script
    assert "make" not in re.sub(r"\\`.*?\\`", "", script)
