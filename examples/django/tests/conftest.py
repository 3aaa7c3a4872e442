"""What the tests share."""

from __future__ import annotations

import os
import uuid

import pytest
from django.test import AsyncClient


@pytest.fixture
def visitor() -> AsyncClient:
    """A browser, without its scripts."""
    return AsyncClient()


@pytest.fixture
def form() -> dict[str, str]:
    """A form as the page has it, filled in."""
    return {"topic": "gRPC", "key": str(uuid.uuid4())}


needs_mesh = pytest.mark.skipif(
    not os.environ.get("CREWMESH_API_KEY"), reason="needs a mesh: CREWMESH_URL, CREWMESH_API_KEY"
)
