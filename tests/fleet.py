"""A whole mesh as operators run it: the chaos harness's, without its haste."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

from tests.chaos.client import Client
from tests.chaos.load import Load
from tests.chaos.mesh import Mesh
from tests.chaos.pace import Pace

# The product's own default. The harness's is short, so that it tests many lost leases in little
# time; on a busy machine leases are lost then for no other reason.
_LEASE_SECONDS = 15.0


async def use(mesh: Mesh, seed: int, runs: int, seconds: float) -> list[Client]:
    """Have so many clients come within about so many seconds; return them when all have ended."""
    pace = Pace()
    load = Load(mesh.urls, mesh.worker_addresses, mesh.api_key, seed, runs, pace)
    passing = asyncio.create_task(pace.run())
    try:
        await load.run(seconds)
    finally:
        passing.cancel()
    return load.clients


def fleet(root: Path, seed: int) -> Mesh:
    """Return a mesh of 2 gateways, 3 workers, 2 stores and Postgres that isn't started yet."""
    mesh = Mesh(root, random.Random(f"{seed}/mesh"))
    for part in mesh.parts_of("store"):
        lease = {"CREWMESH_LEASE_SECONDS": str(_LEASE_SECONDS)}
        part.spec = replace(part.spec, environment={**part.spec.environment, **lease})
    return mesh
