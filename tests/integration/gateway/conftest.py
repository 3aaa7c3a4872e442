"""A gateway in front of a mesh that exists in memory only."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI

from crewmesh_gateway import app
from crewmesh_gateway.openapi import describe
from tests.integration.gateway.fake_mesh import (
    FakeMesh,
    ServedGateway,
    serving_gateway,
    start_fake_mesh,
)


@pytest.fixture(autouse=True, scope="session")
def plain_log() -> Iterator[None]:
    """Without the pictures of local variables that take seconds to draw."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True, scope="session")
def described_once() -> Iterator[None]:
    """Have the API's description, which takes 0.3 s to make, made for the first gateway only."""
    schemas: list[dict[str, Any]] = []

    def describe_once(api: FastAPI) -> None:
        if not schemas:
            describe(api)
            schemas.append(api.openapi())
        api.openapi = lambda: schemas[0]  # type: ignore[method-assign]  # as FastAPI has it done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "describe", describe_once)
        yield


@pytest.fixture
async def mesh() -> AsyncIterator[FakeMesh]:
    mesh = await start_fake_mesh()
    yield mesh
    await mesh.stop()


@pytest.fixture
async def gateway(mesh: FakeMesh) -> AsyncIterator[ServedGateway]:
    async with serving_gateway(mesh) as served:
        yield served


@pytest.fixture
def client(gateway: ServedGateway) -> httpx2.AsyncClient:
    return gateway.client


@pytest.fixture(scope="session")
async def shared_gateway() -> AsyncIterator[ServedGateway]:
    """For tests that leave nothing behind."""
    mesh = await start_fake_mesh()
    async with serving_gateway(mesh) as served:
        yield served
    await mesh.stop()


@pytest.fixture
def shared_client(shared_gateway: ServedGateway) -> httpx2.AsyncClient:
    return shared_gateway.client
