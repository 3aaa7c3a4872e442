"""What release.md says to type to make a release, typed in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "release.md"

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a clone"),
]


def type_in(directory: Path, command: str) -> subprocess.CompletedProcess[str]:
    identity = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")}  # fmt: skip
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory.parent), **identity},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The repository as it is here, with an origin that may be pushed to."""
    clone = tmp_path / "crewmesh"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    begun = type_in(
        clone,
        "git init -q --bare ../origin.git && git init -q -b main && git add -A && "
        "git commit -q -m begun && git remote add origin ../origin.git && git push -q origin main",
    )
    assert begun.returncode == 0, begun.stderr
    return clone


def test_a_release_is_made_as_release_md_says(clone: Path) -> None:
    commands = re.findall(
        r"^    (make release .*?)  +#.*\n    (git commit .*)$", PAGE.read_text(), re.MULTILINE
    )
    ((make, publish),) = commands
    # The tools are those of this repository, and stay as they are.
    shared = f"-o setup BIN={ROOT}/.venv/bin UV={ROOT}/.uv/bin/uv"
    made = type_in(clone, f"{make} {shared}")
    assert made.returncode == 0, made.stdout + made.stderr
    published = type_in(clone, publish)
    assert published.returncode == 0, published.stderr

    assert re.findall(
        r"^version: (.*)$", (clone / "deploy/helm/crewmesh/Chart.yaml").read_text(), re.MULTILINE
    ) == ["1.2.3"]
    for member in (
        "protos",
        "core",
        "services/store",
        "services/agent_worker",
        "services/api_gateway",
    ):
        assert 'version = "1.2.3"' in (clone / member / "pyproject.toml").read_text(), member
    assert [path.name for path in (clone / "changes").iterdir()] == ["README.md"]
    # What release.yml takes for the release's notes.
    workflow = (clone / ".github/workflows/release.yml").read_text()
    (notes,) = re.findall(r"^ +(awk -v head=.*) >notes\.md$", workflow, re.MULTILINE)
    said = type_in(clone, f"version=1.2.3; {notes}").stdout
    assert "### " in said
    assert "## 1.2.3" not in said
    assert len(said.splitlines()) > 10
    # And what it checks first.
    checked = type_in(
        clone,
        f"git fetch -q origin && git merge-base --is-ancestor v1.2.3 origin/main && make check-version VERSION=1.2.3 {shared}",
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert type_in(clone, "git status --porcelain").stdout == ""
