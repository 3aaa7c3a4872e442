"""The how-to that adds a tool and a crew, followed step by step."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, running_mesh
from tests.e2e.test_cli import crewmesh

pytestmark = pytest.mark.long

PAGE = ROOT / "docs" / "how-to" / "add-a-tool.md"
WORKER = Path("services/agent_worker")


async def test_a_tool_and_a_crew_are_added_and_run_as_the_how_to_says(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    source = tmp_path / "source"
    shutil.copytree(ROOT / WORKER, source / WORKER)
    files = re.findall(
        r"^`(services/[\w./-]+)`:\n\n```\w+\n(.*?)```", page, re.DOTALL | re.MULTILINE
    )
    assert [Path(name).suffix for name, _ in files] == [".py", ".yaml"]
    for name, content in files:
        assert not (source / name).exists(), f"{name} is there already"
        (source / name).write_text(content, encoding="utf-8")
    (command,) = re.findall(r"```sh\ncrewmesh (.*?)\n```", page)
    path = os.pathsep.join([str(source / WORKER), str(ROOT)])
    async with running_mesh(tmp_path / "mesh", PYTHONPATH=path) as mesh:
        ran = await crewmesh(mesh, *shlex.split(command))
    assert ran.status == 0, ran.err
    assert '{"value": 42.164813, "unit": "km"}' in ran.out
