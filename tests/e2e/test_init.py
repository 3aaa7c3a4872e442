"""What `crewmesh init` writes, used as it is."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
import yaml

from crewmesh.cli.main import main

pytestmark = pytest.mark.long


@pytest.mark.timeout(400)
async def test_a_new_project_passes_its_test_on_a_mesh_that_serves_it(tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert main(["init", str(project)]) == 0
    mesh = yaml.safe_load((project / "compose.yml").read_text())["services"]["mesh"]
    assert mesh["command"][0] == "crewmesh"
    # Its options are the command line's; where they lead is mounted.
    assert main([*mesh["command"][1:], "--help"]) == 0
    mounted = {volume.split(":")[1] for volume in mesh["volumes"]}
    assert mounted == {argument for argument in mesh["command"] if argument.startswith("/")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."),
        cwd=project,
        env={k: v for k, v in os.environ.items() if not k.startswith(("CREWMESH_", "PYTEST_"))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    assert "2 passed" in out.decode()


def test_a_project_that_is_there_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crew = tmp_path / "greeter.yaml"
    crew.write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["greeter.yaml"]
    assert crew.read_text() == "mine"
    assert "next:" in capsys.readouterr().err
