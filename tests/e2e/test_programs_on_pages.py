"""Programs that the how-to pages give, run as they stand there, and what is typed around them."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from docs.generate.rest import openapi

from crewmesh.client import AsyncClient, Client
from crewmesh.common.grpc_client import agent_stub
from crewmesh.v1 import agent_pb2
from tests.conftest import until
from tests.e2e.conftest import ROOT, Mesh, running_mesh

HOW_TO = ROOT / "docs" / "how-to"
EXAMPLE = ROOT / "examples" / "django"


def page(name: str) -> str:
    return (HOW_TO / name).read_text(encoding="utf-8")


async def typed(*command: str, directory: Path, **environment: str) -> str:
    """Type a command; return what it prints. It has to end well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(directory),
            **environment,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


async def run_program(code: str, mesh: Mesh, directory: Path) -> str:
    """Run a page's program, which may wait as in `python -m asyncio`."""
    runner = (
        "import ast, asyncio, inspect, sys\n"
        "code = compile(sys.argv[1], 'page', 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)\n"
        "done = eval(code, {})\n"
        "asyncio.run(done) if inspect.iscoroutine(done) else None\n"
    )
    environment = {"CREWMESH_URL": mesh.url, "CREWMESH_API_KEY": mesh.api_key}
    return await typed(sys.executable, "-c", runner, code, directory=directory, **environment)


async def test_call_from_python(mesh: Mesh, tmp_path: Path) -> None:
    text = page("call-from-python.md")
    programs = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(programs) == 2
    given = '"http://127.0.0.1:8080", "cm_..."'
    assert given in programs[0]
    for program in programs:
        ours = program.replace(given, f'"{mesh.url}", "{mesh.api_key}"')
        output = await run_program(ours, mesh, tmp_path)
        assert output.count("run.succeeded") == 1, output


async def test_call_from_python_names_calls_that_there_are() -> None:
    rows = re.findall(r"^\| (`.*?`) \| (.*) \|$", page("call-from-python.md"), re.MULTILINE)
    for client in (Client("http://127.0.0.1:9", "cm_"), AsyncClient("http://127.0.0.1:9", "cm_")):
        for names, calls in rows[: [row[0] for row in rows].index("`InvalidInputError`")]:
            resources = [getattr(client, name) for name in re.findall(r"`(\w+)`", names)]
            for resource, group in zip(resources, calls.split(";"), strict=False):
                if len(resources) == len(calls.split(";")):
                    for call in re.findall(r"`(\w+)`", group):
                        assert callable(getattr(resource, call)), (names, call)
        done = client.close()
        if inspect.isawaitable(done):
            await done


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_encrypt_the_mesh(tmp_path: Path) -> None:
    text = page("encrypt-the-mesh.md")
    certs = re.findall(r"^    (crewmesh certs .*?)  +#", text, re.MULTILINE)
    assert len(certs) == 2
    (for_clients,) = re.findall(r"`(crewmesh certs [^`]* --roles client)`", text)
    (program,) = re.findall(r"^A client in Python:\n\n((?:    .*\n)+)", text, re.MULTILINE)
    await typed(*certs[0].split(), directory=tmp_path)
    await typed(*for_clients.split(), directory=tmp_path)
    tls = tmp_path / "tls"
    assert {"store", "agent-worker", "api-gateway", "client"} <= {p.name for p in tls.iterdir()}

    async def calls(mesh: Mesh) -> int:
        own = {
            name: (tls / "client" / f"{name}.pem").read_bytes() for name in ("ca", "key", "cert")
        }
        names: dict[str, Any] = {
            "grpc": grpc, "ca": own["ca"], "key": own["key"], "certificate": own["cert"],
        }  # fmt: skip
        ours = re.sub(r"^    ", "", program, flags=re.MULTILINE)
        exec(ours.replace("dns:///agent-worker:8081", mesh.grpc), names)
        async with names["channel"] as channel:
            key = (("authorization", f"Bearer {mesh.api_key}"),)
            request = agent_pb2.ListCrewsRequest()
            return len((await agent_stub(channel).ListCrews(request, metadata=key)).crews)

    async with running_mesh(tmp_path / "mesh", CREWMESH_TLS_DIR=str(tls)) as mesh:
        assert await calls(mesh)
        before = (tls / "store" / "cert.pem").read_bytes()
        await typed(*certs[1].split(), directory=tmp_path)
        assert (tls / "store" / "cert.pem").read_bytes() != before
        # Services look every second.
        await asyncio.sleep(2)
        assert await calls(mesh)
        run = await mesh.start_run("hello", topic="certificates")

        async def succeeded() -> bool:
            return bool((await mesh.get(f"/v1/runs/{run['id']}"))["status"] == "succeeded")

        await until(succeeded, 60)


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_use_it_from_django(mesh: Mesh, tmp_path: Path) -> None:
    assert "Run it as its `README.md` says" in page("use-it-from-django.md")
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    migrate = re.search(r"^    (python manage\.py migrate)$", readme, re.MULTILINE)
    serve = re.search(
        r"^    (uvicorn crewsite\.asgi:application) --port 8000 ", readme, re.MULTILINE
    )
    assert migrate is not None
    assert serve is not None
    # Its database is beside it.
    await typed("cp", "-r", str(EXAMPLE), "site", directory=tmp_path)
    environment = {"CREWMESH_URL": mesh.url, "CREWMESH_API_KEY": mesh.api_key}
    site = tmp_path / "site"
    await typed(*migrate[1].split(), directory=site, **environment)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "uvicorn"), *serve[1].split()[1:], "--port", str(port),
        cwd=site, env={**os.environ, **environment},
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser:

            async def answers() -> bool:
                try:
                    async with browser.get("/") as response:
                        return response.status == 200
                except aiohttp.ClientError:
                    return False

            await until(answers, 60)
    finally:
        server.terminate()
        await server.wait()


async def test_pages_name_requests_that_there_are() -> None:
    paths = (await openapi())["paths"]
    known = {
        re.sub(r"\{\w+\}", "{}", path): {method.upper() for method in operations}
        for path, operations in paths.items()
    }
    named = 0
    for path in HOW_TO.glob("*.md"):
        for method, url in re.findall(
            r"`(GET|POST|PUT|PATCH|DELETE) (/v1/[^`? ]*)", path.read_text(encoding="utf-8")
        ):
            bare = re.sub(r"\{\w+\}|\b[A-Z_]{2,}\b", "{}", url)
            assert method in known.get(bare, set()), f"{path.name}: {method} {url}"
            named += 1
    assert named > 10
