"""Pools of runners for projects' environments, with real processes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from crewmesh_worker.projects.pools import ProjectPools
from crewmesh_worker.projects.project import Project
from tests.conftest import until

# CrewAI is imported in each environment.
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def project(tmp_path: Path, name: str) -> Project:
    """A project whose environment is this one, by a name of its own."""
    environment = tmp_path / name
    environment.symlink_to(Path(sys.prefix))
    return Project(
        name=name,
        version="1",
        kind="crew",
        description="-",
        root=tmp_path,
        snapshot=tmp_path,
        python=environment / "bin" / "python",
        entry={},
    )


@pytest.fixture
async def pools(tmp_path: Path) -> AsyncIterator[ProjectPools]:
    pools = ProjectPools(
        kept=1,
        slots=2,
        scratch_dir=tmp_path / "scratch",
        cache_dir=tmp_path,
        confinement={"confined": True},
    )
    yield pools
    await pools.stop()


async def test_an_environment_that_nobody_uses_makes_room_for_the_next(
    pools: ProjectPools, tmp_path: Path
) -> None:
    one, two = project(tmp_path, "one"), project(tmp_path, "two")
    first = await pools.acquire(one, "org/one/1")
    zygote = psutil.Process(first.pid).parent()
    assert zygote is not None
    other = await pools.acquire(two, "org/two/1")
    assert zygote.is_running(), "one in use isn't ended"
    await first.release()
    await other.release()
    third = await pools.acquire(two, "org/two/1")

    async def gone() -> bool:
        return not zygote.is_running()

    await until(gone, 30)
    await third.release()
