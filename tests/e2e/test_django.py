"""The Django example's own tests, by pytest-django, with a real mesh behind it."""

from __future__ import annotations

import asyncio
import os
import re
import sys

from tests.e2e.conftest import ROOT, Mesh

EXAMPLE = ROOT / "examples" / "django"


async def test_the_example_s_tests_pass_against_the_mesh(mesh: Mesh) -> None:
    tests = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
        cwd=EXAMPLE,
        env={
            # PYTHONPATH is our own tests' where coverage is measured, and the example's are theirs.
            **{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHONPATH", "COVERAGE"))},
            "CREWMESH_URL": mesh.url,
            "CREWMESH_API_KEY": mesh.api_key,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await tests.communicate())[0].decode()
    assert tests.returncode == 0, output
    assert "skipped" not in output
    assert re.search(r"\b[1-9]\d* passed", output)
