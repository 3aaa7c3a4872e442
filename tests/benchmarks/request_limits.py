"""`make bench-request-limits`: what limits to requests cost; writes docs/benchmarks/request-limits.json."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from pathlib import Path
from typing import Any

import structlog

from crewmesh.common.authentication import Caller
from crewmesh.common.identity import Identity
from crewmesh.common.request_limits import RequestLimiter
from crewmesh.v1 import identity_pb2, limit_pb2
from crewmesh_gateway.app import create_app
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.mesh import Mesh
from tests.benchmarks.measure import write_report
from tests.conftest import API_KEY, MESH_SECRET
from tests.integration.gateway.fake_mesh import FakeMesh, start_fake_mesh

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
LIMIT = 1_000_000
TAKEN, KEYS = 200_000, 100
ROUNDS, REQUESTS, WARM_UP = 7, 1_500, 300


class _Store:
    """A store that answers at once: what is measured is the edge's own work."""

    calls = 0

    async def CountRequests(self, request: Any, **_: Any) -> Any:
        self.calls += 1
        return limit_pb2.CountRequestsResponse(
            seconds_until_whole=[count.seconds for count in request.counts]
        )


async def _take() -> tuple[float, float]:
    """Return the processor time of one request taken, in µs, and calls to the store for 1,000."""
    store = _Store()
    limiter = RequestLimiter(store, lambda: (), of_caller=LIMIT, of_address=LIMIT)  # type: ignore[arg-type]
    callers = [
        Caller(identity_pb2.Principal(), Identity("g", "o", "u", api_key_id=f"key-{n}"))
        for n in range(KEYS)
    ]
    before = time.process_time()
    for n in range(TAKEN):
        await limiter.take_for(callers[n % KEYS])
        if n % 20 == 0:
            await asyncio.sleep(0)  # as requests come in, so that the store is told meanwhile
    seconds = time.process_time() - before
    await limiter.close()
    return seconds / TAKEN * 1e6, store.calls / TAKEN * 1000


class _Application:
    """A gateway without its sockets: what one request costs it."""

    def __init__(self, mesh: FakeMesh, limit: int) -> None:
        self._gateway = Gateway(
            Mesh(mesh.worker_target, mesh.store_target, MESH_SECRET),
            mesh_secret=MESH_SECRET,
            max_body_bytes=1024,
            max_upload_bytes=1024,
            requests_per_minute=limit,
            address_requests_per_minute=limit,
        )
        self._app = create_app(self._gateway)

    async def microseconds(self, requests: int) -> float:
        """Return the processor time of a request for /v1/me."""
        before = time.process_time()
        for _ in range(requests):
            await self._ask()
        return (time.process_time() - before) / requests * 1e6

    async def close(self) -> None:
        await self._gateway.limiter.close()
        await self._gateway.mesh.close()

    async def _ask(self) -> None:
        scope = {
            "type": "http", "method": "GET", "path": "/v1/me", "raw_path": b"/v1/me",
            "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
            "headers": [(b"authorization", b"Bearer " + API_KEY.encode())],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            assert message.get("status", 200) == 200

        await self._app(scope, receive, send)


async def main() -> None:
    """Measure, print and write what came of it."""
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    taken = [await _take() for _ in range(3)]
    mesh = await start_fake_mesh()
    applications = {"off": _Application(mesh, 0), "on": _Application(mesh, LIMIT)}
    figures: dict[str, list[float]] = {"off": [], "on": []}
    for application in applications.values():
        await application.microseconds(WARM_UP)
    for _ in range(ROUNDS):
        for name, application in applications.items():
            figures[name].append(await application.microseconds(REQUESTS))
    for application in applications.values():
        await application.close()
    await mesh.stop()
    results = {
        "us_per_request_taken": round(min(us for us, _ in taken), 2),
        "store_calls_per_1000_requests": round(min(calls for _, calls in taken), 2),
        "gateway_us_per_request": {n: round(statistics.median(f), 1) for n, f in figures.items()},
    }
    write_report(DOCS / "request-limits.json", results)


if __name__ == "__main__":
    asyncio.run(main())
