"""Every crew that comes with Crewmesh, on the small model that runs on this machine.

So small a model says little of use: what is tested is that crews run to an end with it, stream,
call tools with arguments that fit, and that what they can't do ends in a state that says so.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from crewmesh_worker.crews.catalogue import BUILT_IN
from crewmesh_worker.crews.definition import CrewDefinition, load_definitions
from crewmesh_worker.local_model.files import find_weights
from crewmesh_worker.tools.registry import load_tool, tool_names
from tests.e2e.conftest import Mesh, running_mesh

pytestmark = [
    pytest.mark.skipif(find_weights(None) is None, reason="`make local-model` installs it"),
    pytest.mark.timeout(400),
]

CREWS = load_definitions(BUILT_IN)
ROWS = "city,month,rain\nLisbon,1,110\nLisbon,7,4\nOslo,1,60\nOslo,7,81\n"
# Of the ends that a run may come to; a lost worker or runner would be none of these.
HONEST = {"run.succeeded", "run.failed", "run.timed_out", "input.requested"}


@pytest.fixture(scope="module")
async def local_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    async with running_mesh(
        tmp_path_factory.mktemp("local"),
        CREWMESH_MODEL="local",
        CREWMESH_LOCAL_CONTEXT_TOKENS="512",
        CREWMESH_LOCAL_MAX_TOKENS="12",
        CREWMESH_LOCAL_MAX_TOOL_CALLS="1",
        # Nobody may be asked anything on the internet.
        CREWMESH_RUNNER_BUILDER="crewmesh_worker.crews.build:build_crew",
    ) as mesh:
        yield mesh


async def events_of(mesh: Mesh, run_id: str) -> list[dict[str, Any]]:
    events = []
    async for event in mesh.watch(run_id):
        events.append(event)
        if event["type"] == "input.requested":
            break
    return events


def streamed(events: list[dict[str, Any]]) -> str:
    return "".join(e["payload"]["text"] for e in events if e["type"] == "llm.chunk")


async def test_hello_streams_what_the_model_writes(local_mesh: Mesh) -> None:
    run = await local_mesh.start_run("hello", topic="gRPC")
    events = await events_of(local_mesh, run["id"])
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    assert sum(e["payload"]["chunks"] for e in events if e["type"] == "llm.chunk") > 3
    assert streamed(events).strip() == events[-1]["payload"]["output"].strip()
    usage = events[-1]["payload"]["usage"]
    assert usage["prompt_tokens"] > 20
    assert 0 < usage["completion_tokens"] <= 12
    assert usage["model_calls"] == 1


async def test_a_prompt_that_is_cut_is_told_in_the_runs_log(local_mesh: Mesh) -> None:
    run = await local_mesh.start_run("hello", topic="gRPC " * 2_000)
    events = await events_of(local_mesh, run["id"])
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    told = [e["payload"]["message"] for e in events if e["type"] == "log"]
    assert any("longer than the local model reads" in message for message in told)


@pytest.mark.parametrize("name", sorted(CREWS))
async def test_a_built_in_crew_ends_and_says_how(local_mesh: Mesh, name: str) -> None:
    inputs = await inputs_for(local_mesh, CREWS[name])
    body = {"crew": name, "inputs": inputs, "timeout_seconds": 60, "max_attempts": 1}
    async with local_mesh.http.post("/v1/runs", json=body) as response:
        assert response.status == 202, await response.text()
        run = await response.json()
    events = await events_of(local_mesh, run["id"])
    assert events[-1]["type"] in HONEST, events[-1]
    if events[-1]["type"] == "run.failed":
        assert events[-1]["payload"]["code"] == "crew_error", events[-1]["payload"]
    answered = [e["payload"]["usage"] for e in events if e["type"] == "llm.completed"]
    assert sum(usage["total_tokens"] for usage in answered) > 0
    if events[-1]["type"] == "run.succeeded":
        assert streamed(events)
    for event in events:
        if event["type"] == "tool.started" and event["payload"]["tool"] in tool_names():
            check_arguments(event["payload"])


def check_arguments(call: dict[str, Any]) -> None:
    """The model wrote JSON of the tool's shape; whether it makes sense is another question."""
    schema = load_tool(call["tool"]).arguments.model_json_schema()
    arguments = call["arguments"]
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert set(schema.get("required", ())) <= set(arguments), call
    assert set(arguments) <= set(schema["properties"]), call


async def inputs_for(mesh: Mesh, definition: CrewDefinition) -> dict[str, Any]:
    """Return the inputs that a crew requires: its datasets, and something for the others."""
    inputs = {}
    for name in definition.inputs.get("required", ()):
        prop = definition.inputs["properties"][name]
        if name in definition.dataset_inputs:
            inputs[name] = await upload(mesh, name)
        else:
            inputs[name] = something(prop)
    return inputs


def something(prop: dict[str, Any]) -> Any:
    for known in ("default", "const"):
        if known in prop:
            return prop[known]
    for known in ("examples", "enum"):
        if prop.get(known):
            return prop[known][0]
    if prop.get("type") == "array":
        return [something(prop.get("items", {}))] * max(1, prop.get("minItems", 0))
    if prop.get("type") in ("integer", "number"):
        return prop.get("minimum", 1)
    if prop.get("type") == "object":
        required = prop.get("required", ())
        return {name: something(prop["properties"][name]) for name in required}
    return "What is there to know?"


async def upload(mesh: Mesh, name: str) -> str:
    form = aiohttp.FormData()
    form.add_field("name", name)
    form.add_field("file", ROWS.encode(), filename="rows.csv", content_type="text/csv")
    async with mesh.http.post("/v1/datasets", data=form) as response:
        assert response.status == 201, await response.text()
        dataset: str = (await response.json())["id"]
        return dataset


async def test_the_model_ends_with_its_mesh(tmp_path: Path) -> None:
    import psutil

    async with running_mesh(
        tmp_path,
        CREWMESH_MODEL="local",
        CREWMESH_LOCAL_CONTEXT_TOKENS="512",
        CREWMESH_LOCAL_MAX_TOKENS="4",
    ) as mesh:
        run = await mesh.start_run("hello", topic="gRPC")
        assert (await events_of(mesh, run["id"]))[-1]["type"] == "run.succeeded"
        family = psutil.Process(mesh.process.pid).children(recursive=True)
        servers = [p for p in family if "crewmesh_worker.local_model.server" in p.cmdline()]
        (server,) = servers
        worker = server.parent()
        assert worker is not None
        # The worker is killed outright: nobody stops its model in order.
        worker.kill()
        psutil.wait_procs([server], timeout=10)
        assert not server.is_running()
