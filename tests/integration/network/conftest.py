"""Web servers of the tests' own, and clients that may reach this machine."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pytest_httpserver import HTTPServer

from crewmesh.v1.runner_pb2 import RunnerArtifact
from crewmesh_worker.runner import artifacts, endings
from crewmesh_worker.runner.pool import RunnerPool, RunnerSettings
from crewmesh_worker.tools.context import RunContext, enter_run
from crewmesh_worker.tools.network.client import NetworkClient
from crewmesh_worker.tools.network.limits import Limits
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.network.settings import ADDRESSES, PRIVATE, variable
from crewmesh_worker.tools.registry import load_tool

from .crews import RunCrew, runs_crews
from .external import serve_apis
from .pages import serve_pages

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOCAL = NetworkPolicy(private=True)


@dataclass
class Site:
    """A server, and the requests that it has seen."""

    port: int = 0
    requests: list[web.Request] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


@dataclass
class Names:
    """A resolver: answers as it is told to, and counts how often it was asked."""

    answers: dict[str, list[Sequence[str]]]
    asked: Counter[str] = field(default_factory=Counter)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.answers[host]
        self.asked[host] += 1
        return answers[min(self.asked[host], len(answers)) - 1]


@asynccontextmanager
async def serving(
    handlers: dict[str, Handler], address: str = "127.0.0.1", port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Site]:  # fmt: skip
    """Serve handlers by their paths; any other path is a 404."""
    site = Site()

    async def handle(request: web.Request) -> web.StreamResponse:
        site.requests.append(request)
        handler = handlers.get(request.path)
        return await handler(request) if handler else web.Response(status=404)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        tcp = web.TCPSite(runner, address, port, ssl_context=tls)
        await tcp.start()
        site.port = runner.addresses[0][1]
        yield site
    finally:
        await runner.cleanup()


def says(text: str = "ok", **options: Any) -> Handler:
    """Return a handler that always gives this answer."""

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, **options)

    return handle


def sends_to(location: str, status: int = 302) -> Handler:
    """Return a handler that redirects; `{port}` in the location is its own port."""

    async def handle(request: web.Request) -> web.StreamResponse:
        port = request.url.port
        return web.Response(status=status, headers={"Location": location.format(port=port)})

    return handle


MakeClient = Callable[..., NetworkClient]


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    async with AsyncExitStack() as stack:

        def make(
            policy: NetworkPolicy = LOCAL, names: Names | None = None, **limits: Any
        ) -> NetworkClient:
            given = {"host_rate": 1000.0, **limits}
            extra = {"lookup": names} if names else {}
            client = NetworkClient(policy, "Crewmesh/1 (+tests)", Limits(**given), **extra)
            stack.push_async_callback(client.close)
            return client

        yield make


async def together(*awaitables: Awaitable[Any]) -> list[Any]:
    """Return what each gives or raises."""
    return await asyncio.gather(*awaitables, return_exceptions=True)


@pytest.fixture(scope="session")
def make_httpserver() -> Iterator[HTTPServer]:
    """A server that answers several requests at a time."""
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        yield server


@pytest.fixture
def saved() -> list[RunnerArtifact]:
    return []


@pytest.fixture
def run(
    httpserver: HTTPServer,
    tmp_path: Path,
    saved: list[RunnerArtifact],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[RunContext]:
    """A run that may reach this machine, where the external APIs and some pages are."""
    serve_apis(httpserver)
    serve_pages(httpserver)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable(PRIVATE), "true")
    for name in ADDRESSES:
        monkeypatch.setenv(variable(name), httpserver.url_for(""))
    with artifacts.saving(tmp_path, saved.append), endings.closing():
        yield enter_run({})


@pytest.fixture
def call(run: RunContext) -> Callable[..., Any]:
    """Call a tool by its name, with arguments as a model gives them; return what it answers."""

    def call(name: str, **arguments: object) -> Any:
        tool = load_tool(name)
        return json.loads(tool.run(tool.arguments.model_validate(arguments)))

    return call


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[RunnerPool]:
    pool = RunnerPool(RunnerSettings(slots=2, spares=1))
    await pool.start()
    yield pool
    await pool.stop()


@pytest.fixture
def run_crew(pool: RunnerPool, httpserver: HTTPServer) -> RunCrew:
    """Run a crew; the external APIs and some pages are on this machine."""
    serve_apis(httpserver)
    serve_pages(httpserver)
    addresses = {variable(name): httpserver.url_for("") for name in ADDRESSES}
    return runs_crews(pool, {variable(PRIVATE): "true", **addresses})
