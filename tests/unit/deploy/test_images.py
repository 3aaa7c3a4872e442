"""The gateway's image has the console, which git doesn't have: whoever builds it builds that first."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
_BUILDS = re.compile(r"\b(docker|podman|buildx|compose)\b.*\bbuild\b|\bup\b.*--build\b")
_BRINGS_CONSOLE = re.compile(r"^make\b.*\b(console|images)\b", re.MULTILINE)


def check_of_the_console() -> str:
    """Return the Dockerfile's command that looks for the console."""
    found = [
        command
        for command in re.findall(r"^RUN ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
        if "make console" in command
    ]
    assert len(found) == 1
    return str(found[0])


def test_without_the_console_no_image_is_built_and_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", check_of_the_console()], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "make console" in done.stderr
    page = tmp_path / "services/api_gateway/crewmesh_gateway/console/index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    assert subprocess.run(["sh", "-c", check_of_the_console()], cwd=tmp_path).returncode == 0


def test_the_check_comes_before_the_wheels_and_in_the_stage_of_all_images() -> None:
    stage, _, _ = DOCKERFILE.partition("FROM build AS")
    assert stage.index("COPY services") < stage.index(check_of_the_console())
    assert stage.index(check_of_the_console()) < stage.index("hatchling build")


def test_each_pipeline_builds_the_console_before_its_images() -> None:
    building = set()
    for name, workflow in WORKFLOWS.items():
        for job in workflow["jobs"].values():
            commands = [step["run"] for step in job.get("steps", []) if "run" in step]
            first = next((i for i, command in enumerate(commands) if _BUILDS.search(command)), None)
            if first is not None:
                building.add(name)
                assert any(_BRINGS_CONSOLE.search(command) for command in commands[:first]), name
    assert building == {"images.yml"}


def test_a_release_and_main_build_their_images_there() -> None:
    for name in ("release.yml", "ci.yml"):
        assert WORKFLOWS[name]["jobs"]["images"]["uses"] == "./.github/workflows/images.yml"


def test_make_builds_the_console_before_images_and_wheels() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^images: .*\bconsole\b", makefile, re.MULTILINE)
    assert re.search(r"^dist: .*\bconsole\b", makefile, re.MULTILINE)
