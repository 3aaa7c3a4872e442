"""A whole mesh as operators run it: the chaos harness's, without its haste."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from tests.chaos.mesh import Mesh

# The product's own default. The harness's is short, so that it tests many lost leases in little
# time; on a busy machine leases are lost then for no other reason.
_LEASE_SECONDS = 15.0


def fleet(root: Path, seed: int) -> Mesh:
    """Return a mesh of 2 gateways, 3 workers, 2 stores and Postgres that isn't started yet."""
    mesh = Mesh(root, random.Random(f"{seed}/mesh"))
    for part in mesh.parts_of("store"):
        lease = {"CREWMESH_LEASE_SECONDS": str(_LEASE_SECONDS)}
        part.spec = replace(part.spec, environment={**part.spec.environment, **lease})
    return mesh
