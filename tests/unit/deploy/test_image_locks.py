"""Each image's lock is its service's part of requirements.lock, and no more."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = ROOT / "deploy" / "docker" / "requirements"
MEMBERS = {"api-gateway": "api_gateway", "store": "store", "agent-worker": "agent_worker"}


def pins(path: Path) -> dict[str, str]:
    """Return what a lock pins, by name; each has its hashes."""
    found = re.findall(
        r"^([\w.-]+)==(\S+)[^\n]*\\\n    --hash=sha256:", path.read_text(), re.MULTILINE
    )
    assert len(found) == len(re.findall(r"^[\w.-]+==", path.read_text(), re.MULTILINE))
    return {name: version for name, version in found}  # noqa: C416 - of a name's markers, the last


def declared(member: Path) -> set[str]:
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[><=;~ ]", line)[0].lower() for line in project["dependencies"]}
    return {name.replace("_", "-") for name in names if not name.startswith("crewmesh")}


@pytest.mark.parametrize("image", MEMBERS)
def test_what_an_image_installs_is_what_was_tested(image: str) -> None:
    everything = pins(ROOT / "requirements.lock")
    assert pins(LOCKS / f"{image}.lock").items() <= everything.items(), "run make lock-images"


@pytest.mark.parametrize("image", MEMBERS)
def test_an_image_has_all_that_its_service_and_the_core_declare(image: str) -> None:
    needed = declared(ROOT / "services" / MEMBERS[image]) | declared(ROOT / "core")
    assert needed <= pins(LOCKS / f"{image}.lock").keys(), "run make lock-images"


@pytest.mark.parametrize("image", ["api-gateway", "store"])
def test_only_the_worker_has_crewai(image: str) -> None:
    assert "crewai" in pins(LOCKS / "agent-worker.lock")
    assert "crewai" not in pins(LOCKS / f"{image}.lock")


def test_the_build_uses_the_members_own_build_tools() -> None:
    protos = tomllib.loads((ROOT / "protos" / "pyproject.toml").read_text())
    wanted = {line for line in protos["build-system"]["requires"] if "==" in line}
    built = {f"{name}=={version}" for name, version in pins(LOCKS / "build.lock").items()}
    assert wanted <= built
